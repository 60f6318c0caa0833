// Previews of images, PDF, audio, video and text, from one file of the list to the next.

import { byId, element } from './elements.js'
import { size } from './format.js'
import { icon } from './icons.js'
import { kindOf } from './kinds.js'
import { nameOf } from './names.js'
import { GONE, urlOf } from './service.js'
import { isImage } from './thumbnails.js'

const TEXT = 100_000 // maximum bytes of a text preview
const PDF = 100_000_000 // maximum bytes of a PDF preview

let shown = null // the file in the preview
let closing = new AbortController()
let actions

export function setUpPreview(given) {
  actions = given
  const dialog = byId('preview')
  const on = (name, act) => byId(`preview-${name}`).addEventListener('click', act)
  for (const name of ['previous', 'next', 'download', 'link', 'close']) {
    byId(`preview-${name}`).prepend(icon(name))
  }
  on('close', () => dialog.close())
  on('previous', () => move(-1))
  on('next', () => move(1))
  on('link', () => actions.copy(shown, byId('preview-said')))
  on('download', (event) => {
    event.preventDefault()
    actions.save(shown, byId('preview-said'))
  })
  on('remove', removeShown)
  dialog.addEventListener('keydown', ({ key, target }) => {
    if (target.closest('audio, video, input, pre')) return // which use these keys themselves
    if (key === 'ArrowLeft') move(-1)
    if (key === 'ArrowRight') move(1)
  })
  dialog.addEventListener('close', () => {
    clear()
    byId('preview-content').replaceChildren() // also stops audio and video
    focusRow(shown)
  })
}

export function preview(file) {
  show(file)
  byId('preview').showModal()
}

function show(file) {
  clear()
  shown = file
  const { signal } = closing
  const files = actions.files()
  const at = files.indexOf(file)
  byId('preview-name').replaceChildren(nameOf(file.name, { lines: 1 }))
  byId('preview-detail').textContent = `${size(file.size)} · ${kindOf(file.content_type)[0]}`
  byId('preview-open').href = byId('preview-download').href = urlOf(file.handle)
  byId('preview-download').download = file.name
  byId('preview-previous').disabled = at < 1
  byId('preview-next').disabled = at + 1 >= files.length
  fill(element('p', { role: 'status' }, 'Loading …'))
  const end = (content) => signal.aborted || fill(content)
  const fail = (error) => {
    end(element('p', { role: 'alert' }, error.message))
    if (error.isGone && !signal.aborted) actions.lost(file)
  }
  contentOf(file, signal, fail).then(end, fail)
}

function clear() {
  closing.abort()
  closing = new AbortController()
  byId('preview-said').replaceChildren()
}

const fill = (content) => byId('preview-content').replaceChildren(content)

function neighbour(step) {
  const files = actions.files()
  const at = files.indexOf(shown)
  return at < 0 ? undefined : files[at + step]
}

function move(step) {
  const file = neighbour(step)
  if (!file) return
  show(file)
  const button = byId(step < 0 ? 'preview-previous' : 'preview-next')
  if (button.disabled) byId('preview-close').focus()
}

async function removeShown() {
  const next = neighbour(1) ?? neighbour(-1)
  if (!(await actions.remove(shown))) return
  if (next) show(next)
  else byId('preview').close()
}

function focusRow(file) {
  const row = [...byId('stored').children].find((each) => each.file === file)
  ;(row?.querySelector('.look') ?? byId('stored').querySelector('.look') ?? byId('files')).focus()
}

async function contentOf(file, signal, fail) {
  const url = urlOf(file.handle)
  const type = file.content_type.split(';')[0]
  const media = { src: url, onerror: () => explain(url, signal).then(fail) }
  const played = { ...media, controls: true, preload: 'metadata', ariaLabel: file.name }
  if (isImage(file)) return element('img', { ...media, alt: file.name })
  if (type.startsWith('video/')) return element('video', played)
  if (type.startsWith('audio/')) return element('audio', played)
  if (type === 'application/pdf' && file.size <= PDF) return pdf(url, file, signal)
  if (type.startsWith('text/') || type === 'application/json') return text(url, file, signal)
  const [words, picture] = kindOf(type)
  const what = words === 'File' ? `files of type ${type}` : `files of this kind (${words})`
  const said = `No preview for ${what}. Download the file instead.`
  return element('div', { className: `none ${picture}` }, icon(picture), element('p', {}, said))
}

// Return why the browser shows nothing: the file is gone, or of no use to it.
async function explain(url, signal) {
  const response = await fetch(url, { method: 'HEAD', signal }).catch(() => null)
  return response?.status === 404 ? missing() : new Error('Your browser cannot show this file.')
}

async function pdf(url, file, signal) {
  const response = await load(url, { signal })
  const blob = new Blob([await response.blob()], { type: 'application/pdf' })
  const src = URL.createObjectURL(blob)
  signal.addEventListener('abort', () => URL.revokeObjectURL(src))
  // Its own bar would name the file by the address of the blob, and save it so.
  return element('iframe', { src: `${src}#toolbar=0`, title: file.name })
}

async function text(url, file, signal) {
  const part = file.size > TEXT
  const headers = part ? { Range: `bytes=0-${TEXT - 1}` } : {}
  const response = await load(url, { signal, headers })
  const more = part ? `\n… ${size(file.size - TEXT)} more` : ''
  return element('pre', { tabIndex: 0 }, (await response.text()) + more)
}

async function load(url, options) {
  const response = await fetch(url, options)
  if (response.ok) return response
  if (response.status === 404) throw missing()
  throw new Error(`Cannot load the file: ${response.status} ${response.statusText}`)
}

const missing = () => Object.assign(new Error(GONE), { isGone: true })
