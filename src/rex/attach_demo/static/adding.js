// Four ways to add files: choose files, choose a folder, drop, paste.

import { byId, element, say } from './elements.js'
import { size } from './format.js'
import { LIMIT } from './service.js'
import { uppy } from './uploader.js'
import { getDroppedFiles } from './uppy.js'

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
  acceptDropped()
  uppy.on('restriction-failed', (file, error) => {
    const isTooLarge = LIMIT && file?.size > LIMIT
    refuse(isTooLarge ? `${file.name} is larger than ${size(LIMIT)}.` : error.message)
  })
  showConnection()
}

function acceptDropped() {
  const zone = byId('drop')
  const brings = ({ dataTransfer }) => dataTransfer.types.includes('Files')
  // The browser would replace the page with a file dropped outside the zone.
  addEventListener('dragover', (event) => {
    if (!brings(event)) return
    event.preventDefault()
    zone.classList.add('over')
  })
  addEventListener('dragleave', ({ relatedTarget }) => {
    if (!relatedTarget) zone.classList.remove('over')
  })
  addEventListener('drop', async (event) => {
    if (!brings(event)) return
    event.preventDefault()
    zone.classList.remove('over')
    const reasons = []
    const logDropError = ({ message }) => reasons.push(message)
    add(await getDroppedFiles(event.dataTransfer, { logDropError }))
    reasons.forEach(refuse)
  })
}

function add(files) {
  if (files.length === 0) return
  byId('refused').hidden = true
  byId('refused').replaceChildren()
  try {
    uppy.addFiles(
      files.map((file) => ({
        name: file.name,
        type: file.type,
        data: file,
        meta: { relativePath: file.relativePath || file.webkitRelativePath || null },
      })),
    )
  } catch (error) {
    refuse(error.message)
  }
}

function refuse(reason) {
  byId('refused').append(element('li', {}, reason))
  byId('refused').hidden = false
  say(reason)
}

function showConnection() {
  const show = () => {
    byId('offline').hidden = navigator.onLine
  }
  addEventListener('online', show)
  addEventListener('offline', show)
  show()
}
