// The custom element <rex-upload>: uploads the files of a form field straight to the storage.
//
// It contains a file input. Without this script, the browser sends the file with the form. With it,
// the element asks Django for a link, sends the file to the link, and puts a signed token into the
// form instead of the file. One module without dependencies, inline scripts or inline styles.

const AT_ONCE = 3 // files that are sent at the same time

const elements = new Set() // the elements in the document
const submitters = new WeakMap() // by form: the button of a submission that waits for uploads

class RexUpload extends HTMLElement {
  #uploads = []
  #list = null
  #status = null
  #isRequired = false

  connectedCallback() {
    elements.add(this)
    if (this.#list?.parentNode === this) return // the element was moved
    this.#label()
    this.#isRequired = this.input.required || 'required' in this.dataset
    this.#draw()
    this.addEventListener('change', ({ target }) => target === this.input && this.#choose())
    if (this.input.files.length > 0) this.#choose() // chosen before this script was there
  }

  disconnectedCallback() {
    elements.delete(this)
    // A row of a formset that is removed; an element that is only moved is back already.
    queueMicrotask(() => this.isConnected || this.#uploads.forEach((upload) => upload.abort()))
  }

  get input() {
    return this.querySelector('input[type="file"]')
  }

  get form() {
    return this.input?.form
  }

  get maxSize() {
    return this.dataset.maxSize ? Number(this.dataset.maxSize) : Infinity
  }

  get isBusy() {
    return this.#uploads.some(({ state }) => state === 'waiting' || state === 'sending')
  }

  get hasFailed() {
    return this.#uploads.some(({ state }) => state === 'failed')
  }

  // Return a text in the language of the page, with its gaps filled.
  text(name, gaps = {}) {
    const text = JSON.parse(this.dataset.texts)[name]
    return text.replace(/\{(\w+)\}/g, (gap, key) => gaps[key] ?? gap)
  }

  // Announce what happened; show it as well if no row does.
  say(text, isShown = false) {
    this.#status.textContent = text
    this.#status.toggleAttribute('data-shown', isShown)
  }

  // Lead the user to an upload that keeps the form from being sent.
  showFailure() {
    this.#uploads.find(({ state }) => state === 'failed').focus()
    this.say(this.text('mend'), true)
  }

  discard(upload) {
    upload.abort()
    this.#drop(upload)
    this.say(this.text('removed', upload))
    this.input.focus()
    settle(this.form)
  }

  update() {
    this.#list.hidden = this.#uploads.length === 0
    this.toggleAttribute('data-filled', this.#uploads.length > 0)
    // The input is empty once its file is uploaded.
    this.input.required = this.#isRequired && this.#uploads.length === 0
  }

  // The cells of a table, as in the admin, have labels only in its head.
  #label() {
    if (this.input.labels.length > 0 || this.input.ariaLabel) return
    const cell = this.closest('td')
    const head = cell?.closest('table').tHead?.rows[0]?.cells[cell.cellIndex]
    if (head) this.input.ariaLabel = head.textContent.trim()
  }

  // Adopt the uploads that the server rendered, for a form that is shown again. What a cloned
  // element brings along is drawn again as well.
  #draw() {
    const kept = [...this.querySelectorAll('input[type="hidden"][data-name]')]
    this.querySelectorAll(':scope > .rex-upload-files, :scope > [role="status"]').forEach((old) =>
      old.remove(),
    )
    this.#list = create('span', { className: 'rex-upload-files', role: 'list', hidden: true })
    this.#status = create('span', { className: 'rex-upload-status', role: 'status' })
    this.append(this.#list, this.#status)
    for (const { value, dataset } of kept) this.#add(new Upload(this, dataset.name, null, value))
    this.update()
  }

  #choose() {
    const files = [...this.input.files]
    this.input.value = '' // else the browser would send the files with the form as well
    if (files.length === 0) return
    if (!this.input.multiple) this.#uploads.slice().forEach((upload) => this.#replace(upload))
    for (const file of files) this.#add(new Upload(this, file.name, file))
    this.update()
    next()
  }

  #replace(upload) {
    upload.abort()
    this.#drop(upload)
  }

  #add(upload) {
    this.#uploads.push(upload)
    this.#list.append(upload.row)
  }

  #drop(upload) {
    this.#uploads.splice(this.#uploads.indexOf(upload), 1)
    upload.row.remove()
    this.update()
  }
}

// One file of a field: its row, and its way to the storage.
class Upload {
  state = 'waiting' // then: sending, uploaded or failed
  #control = null

  constructor(element, name, file, token = '') {
    this.element = element
    this.name = name
    this.file = file
    this.row = this.#draw()
    if (token) this.#keep(token)
    else if (file) this.#enqueue()
  }

  abort() {
    queue.delete(this)
    this.#control?.abort()
  }

  focus() {
    this.row.querySelector('button:not([hidden])').focus()
  }

  async run() {
    const control = new AbortController()
    this.#control = control
    try {
      this.#check()
      this.element.say(this.element.text('began', this))
      const { link, token } = await inTurn(() => this.#ask(control.signal))
      await send(link, this.file, control.signal, (sent) => this.#showSent(sent))
      this.#keep(token)
      this.element.say(this.element.text('done', this))
    } catch (error) {
      if (!control.signal.aborted) this.#fail(error)
    }
    settle(this.element.form)
  }

  #draw() {
    this.label = create('span', { className: 'rex-upload-name' }, this.name)
    this.detail = create('span', { className: 'rex-upload-detail' })
    this.bar = create('progress', { max: 1, value: 0, ariaLabel: this.name })
    this.retrying = this.#button('retry', () => {
      this.removing.focus() // the button that stays
      this.#enqueue()
      next()
    })
    this.removing = this.#button('cancel', () => this.element.discard(this))
    const parts = [this.label, ' ', this.detail, ' ', this.bar, ' ', this.retrying, ' ']
    return create('span', { className: 'rex-upload-file', role: 'listitem' }, ...parts, this.removing)
  }

  #button(label, act) {
    const button = create('button', { type: 'button', className: `rex-upload-${label}` })
    button.addEventListener('click', act)
    return button
  }

  #enqueue() {
    this.#show('waiting', this.element.text('waiting'))
    queue.add(this)
  }

  #check() {
    if (this.file.size > this.element.maxSize) {
      throw new Error(this.element.text('large', { size: size(this.element.maxSize) }))
    }
    if (this.file.size === 0 && !('allowEmpty' in this.element.dataset)) {
      throw new Error(this.element.text('empty'))
    }
  }

  // Ask Django for a link, and for the token that the form sends in place of the file.
  async #ask(signal) {
    this.#show('sending', this.element.text('waiting'))
    const { offer, link: url } = this.element.dataset
    const token = this.element.form?.querySelector('[name="csrfmiddlewaretoken"]')?.value ?? ''
    const headers = { 'X-CSRFToken': token, Accept: 'application/json' }
    const body = new URLSearchParams({ offer, name: this.name, size: this.file.size })
    let response
    try {
      response = await fetch(url, { method: 'POST', headers, body, signal })
    } catch {
      throw new Failure('lost')
    }
    const answer = await response.json().catch(() => ({}))
    if (response.ok && answer.link) return answer
    throw answer.error ? new Error(answer.error) : new Failure('refused', response.status)
  }

  #showSent(sent) {
    const isDone = sent >= this.file.size
    const gaps = { sent: size(Math.min(sent, this.file.size)), size: size(this.file.size) }
    this.detail.textContent = this.element.text(isDone ? 'checking' : 'sent', gaps)
    this.bar.value = this.file.size ? Math.min(1, sent / this.file.size) : 1
  }

  #keep(token) {
    const name = `${this.element.input.name}-upload`
    this.row.append(create('input', { type: 'hidden', name, value: token }))
    this.file = null
    this.#show('uploaded', this.element.text('uploaded'))
  }

  #fail(error) {
    const { failure, status = '' } = error
    const reason = failure ? this.element.text(failure, { status }) : error.message
    this.#show('failed', this.element.text('failed', { reason }))
    this.element.say(this.element.text('broke', { name: this.name, reason }))
  }

  #show(state, detail) {
    this.state = state
    this.row.dataset.state = state
    this.detail.textContent = detail
    this.bar.hidden = state === 'uploaded' || state === 'failed'
    this.bar.value = 0
    this.retrying.hidden = state !== 'failed'
    const isRunning = state === 'waiting' || state === 'sending'
    for (const [button, name] of [
      [this.retrying, 'retry'],
      [this.removing, isRunning ? 'cancel' : 'remove'],
    ]) {
      button.textContent = this.element.text(name)
      button.ariaLabel = `${button.textContent} ${this.name}`
    }
  }
}

// A reason that the element words in the language of the page.
class Failure extends Error {
  constructor(failure, status) {
    super(failure)
    Object.assign(this, { failure, status })
  }
}

// Ask for one link after another: the first gives a visitor the session that the others need.
function inTurn(ask) {
  const answer = lastAnswer.then(ask)
  lastAnswer = answer.catch(() => {})
  return answer
}

let lastAnswer = Promise.resolve()
const queue = new Set()
let running = 0

function next() {
  for (const upload of queue) {
    if (running >= AT_ONCE) return
    queue.delete(upload)
    running += 1
    upload.run().finally(() => {
      running -= 1
      next()
    })
  }
}

// XMLHttpRequest, since fetch does not report the progress of an upload.
function send(link, file, signal, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.upload.addEventListener('progress', ({ loaded }) => onProgress(loaded))
    request.addEventListener('error', () => reject(new Failure('lost')))
    request.addEventListener('abort', () => reject(new Failure('lost')))
    request.addEventListener('load', () => {
      const isStored = request.status >= 200 && request.status < 300
      if (isStored) resolve()
      else reject(new Failure('refused', request.status))
    })
    signal.addEventListener('abort', () => request.abort())
    request.open(link.method, link.url)
    for (const [name, value] of Object.entries(link.headers)) request.setRequestHeader(name, value)
    request.send(link.method === 'POST' ? formOf(link, file) : file)
  })
}

function formOf({ fields }, file) {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  form.append('file', file) // after all the fields, as S3 demands
  return form
}

// A form waits for its uploads. The listener is on the window, before those of the page.
addEventListener(
  'submit',
  (event) => {
    const form = event.target
    const failed = of(form).find(({ hasFailed }) => hasFailed)
    const busy = of(form).filter(({ isBusy }) => isBusy)
    if (!failed && busy.length === 0) return
    event.preventDefault()
    event.stopImmediatePropagation()
    if (failed) failed.showFailure()
    else submitters.set(form, event.submitter)
    busy.forEach((element) => element.say(element.text('wait'), true))
  },
  true,
)

const of = (form) => [...elements].filter((element) => element.form === form)

// Send a form that has waited, once its last upload has ended; not if one has failed.
function settle(form) {
  if (!form || !submitters.has(form) || of(form).some(({ isBusy }) => isBusy)) return
  const submitter = submitters.get(form)
  submitters.delete(form)
  form.requestSubmit(submitter?.isConnected ? submitter : null)
}

function create(tag, properties, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value
    else made.setAttribute(name, value)
  }
  made.append(...children)
  return made
}

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte']

function size(bytes) {
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1)
  return new Intl.NumberFormat(document.documentElement.lang || undefined, {
    style: 'unit',
    unit: UNITS[power],
    unitDisplay: 'short',
    maximumSignificantDigits: 3,
  }).format(bytes / 1000 ** power)
}

customElements.define('rex-upload', RexUpload)
