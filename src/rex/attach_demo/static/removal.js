// Removal: asked for where much is lost, and undone for some seconds.

import { byId, say } from './elements.js'
import { nameOf } from './names.js'
import { GONE, send } from './service.js'
import { toast } from './toast.js'

const ASK_ABOVE = 10_000_000 // bytes
const AT_ONCE = 100 // files in a request

// Remove files; `change` is called with their handles and whether they are hidden, then with null
// when the storage has removed them. Return whether the user wants it.
export async function remove(files, change) {
  const isMuch = files.length > 1 || files[0].size > ASK_ABOVE
  if (isMuch && !(await confirmed(files))) return false
  const handles = files.map(({ handle }) => handle)
  change(handles, true)
  const [{ name }] = files
  const isOne = files.length === 1
  say(isOne ? `${name} removed` : `${files.length} files removed`)
  const words = isOne ? [nameOf(name, { lines: 1 }), ' removed'] : [`${files.length} files removed`]
  const onEnd = (isUndone) => (isUndone ? change(handles, false) : finish(handles, change))
  toast(words, { action: 'Undo', onEnd })
  return true
}

async function finish(handles, change) {
  const parts = []
  for (let at = 0; at < handles.length; at += AT_ONCE) parts.push(handles.slice(at, at + AT_ONCE))
  try {
    // All at once: a page that is being closed sends nothing after it has waited.
    const sent = parts.map((part) => send('files', { handles: part }, 'DELETE'))
    const removed = (await Promise.all(sent)).flatMap((answer) => answer.removed)
    if (removed.length === 0) inform(handles.length === 1 ? GONE : 'These files have been removed meanwhile.')
    change(handles, null)
  } catch (error) {
    change(handles, false)
    inform(`Not removed. ${error.message}`)
  }
}

export function inform(words) {
  toast([words])
  say(words)
}

function confirmed(files) {
  const dialog = byId('confirm')
  const what = files.length === 1 ? nameOf(files[0].name, { lines: 2 }) : `${files.length} files`
  byId('confirm-text').replaceChildren('Permanently remove ', what, '?')
  dialog.returnValue = ''
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'remove'), { once: true })
  })
}
