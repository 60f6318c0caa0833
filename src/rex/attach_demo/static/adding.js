// Four ways to add files: choose files, choose a folder, drop, paste.

import { byId, element, say } from './elements.js'
import { size } from './format.js'
import { nameOf } from './names.js'
import { addFiles } from './queue.js'
import { LIMIT } from './service.js'
import { getDroppedFiles } from './uppy.js'

const REASONS = 5 // listed; of more, the number is enough

export function acceptFiles() {
  if (LIMIT) byId('limit').textContent = `Maximum file size: ${size(LIMIT)}.`
  for (const id of ['files', 'folder']) {
    byId(id).addEventListener('change', ({ target }) => {
      add([...target.files])
      target.value = '' // allows choosing the same file again
    })
  }
  addEventListener('paste', ({ clipboardData, target }) => {
    // An input takes text; office programs add a picture of it to the clipboard.
    if (clipboardData && !target.matches?.('input')) add([...clipboardData.files])
  })
  byId('refused-close').addEventListener('click', () => {
    byId('refused').hidden = true
    byId('files').focus()
  })
  acceptDropped()
  showConnection()
}

// The whole window takes files: the browser would replace the page with one dropped beside a zone.
function acceptDropped() {
  const brings = ({ dataTransfer }) => dataTransfer.types.includes('Files')
  const cover = (isOver) => {
    byId('over').hidden = !isOver
  }
  addEventListener('dragover', (event) => {
    if (!brings(event)) return
    event.preventDefault()
    cover(true)
  })
  addEventListener('dragleave', ({ relatedTarget }) => {
    if (!relatedTarget) cover(false)
  })
  addEventListener('drop', async (event) => {
    if (!brings(event)) return
    event.preventDefault()
    cover(false)
    const reasons = []
    const logDropError = ({ message }) => reasons.push([message])
    add(await getDroppedFiles(event.dataTransfer, { logDropError }), reasons)
  })
}

function add(files, reasons = []) {
  if (files.length + reasons.length === 0) return
  const refused = addFiles(files)
  showRefused([...reasons, ...refused.map((upload) => [nameOf(upload.name), why(upload)])])
}

function why(upload) {
  return LIMIT && upload.size > LIMIT
    ? ` is larger than ${size(LIMIT)} (${size(upload.size)}).`
    : ' is already being uploaded.'
}

function showRefused(reasons) {
  const rows = reasons.slice(0, REASONS).map((reason) => element('li', {}, ...reason))
  if (reasons.length > REASONS) rows.push(element('li', {}, `And ${reasons.length - REASONS} more.`))
  byId('refused').hidden = rows.length === 0
  byId('refused').querySelector('ul').replaceChildren(...rows)
  for (const row of rows) say(row.textContent)
}

function showConnection() {
  const show = () => {
    byId('offline').hidden = navigator.onLine
  }
  addEventListener('online', show)
  addEventListener('offline', show)
  show()
}
