// Four ways to give files to the page: pick them, pick a folder, drop them, paste them.

import { byId, element, say } from './elements.js'
import { size } from './format.js'
import { LIMIT } from './service.js'
import { uppy } from './uploader.js'
import { getDroppedFiles } from './uppy.js'

export function acceptFiles() {
  if (LIMIT) byId('limit').textContent = `Each file may have up to ${size(LIMIT)}.`
  for (const id of ['files', 'folder']) {
    byId(id).addEventListener('change', ({ target }) => {
      add([...target.files])
      target.value = '' // so that the same file can be chosen again
    })
  }
  addEventListener('paste', ({ clipboardData, target }) => {
    // Into a field goes text; office programs put a picture of it beside it.
    if (clipboardData && !target.matches?.('input')) add([...clipboardData.files])
  })
  acceptDropped()
  uppy.on('restriction-failed', (file, error) => {
    const isTooLarge = LIMIT && file?.size > LIMIT
    refuse(isTooLarge ? `${file.name} has more than ${size(LIMIT)}.` : error.message)
  })
  showConnection()
}

function acceptDropped() {
  const zone = byId('drop')
  const brings = ({ dataTransfer }) => dataTransfer.types.includes('Files')
  // A file dropped beside the zone would take the place of the page.
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
