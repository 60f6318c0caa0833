// Four ways to give files to the page: pick them, pick a folder, drop them, paste them.

import { byId, element, say } from './elements.js'
import { size } from './format.js'
import { MAX_SIZE } from './service.js'
import { uppy } from './uploader.js'
import { getDroppedFiles } from './uppy.js'

export function acceptFiles() {
  byId('plain').hidden = true
  byId('folder-label').hidden = false
  byId('limit').textContent = MAX_SIZE
    ? `Each file may have up to ${size(MAX_SIZE)}.`
    : 'Files may be of any size.'
  for (const id of ['files', 'folder']) {
    byId(id).addEventListener('change', ({ target }) => {
      add([...target.files])
      target.value = '' // so that the same file can be chosen again
    })
  }
  addEventListener('paste', ({ clipboardData }) => add([...(clipboardData?.files ?? [])]))
  acceptDropped()
  uppy.on('restriction-failed', (file, error) => refuse(error.message))
  showConnection()
}

function acceptDropped() {
  const zone = byId('drop')
  // A file dropped beside the zone would take the place of the page.
  addEventListener('dragover', (event) => {
    event.preventDefault()
    zone.classList.add('over')
  })
  addEventListener('dragleave', ({ relatedTarget }) => {
    if (!relatedTarget) zone.classList.remove('over')
  })
  addEventListener('drop', async (event) => {
    event.preventDefault()
    zone.classList.remove('over')
    add(await getDroppedFiles(event.dataTransfer, { logDropError: ({ message }) => refuse(message) }))
  })
}

function add(files) {
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
    // Those that break a limit were told one by one.
    if (!error.isRestriction && !error.errors) refuse(error.message)
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
