// Downloads of one file or several, and links for others.

import { element, say } from './elements.js'
import { SERVER, SERVICE, ask, urlOf } from './service.js'

const MOST = 1000 // files in an archive

// Start a download, after a look whether the file is still there.
export async function download(file) {
  const own = urlOf(file.handle)
  // A link to the S3 server says by itself that the file is to be saved.
  const href = SERVER ? (await ask(`${own}?link`)).url : own
  if (!SERVER) await ask(own, { method: 'HEAD' })
  element('a', { href, download: file.name }).click()
}

// Download several files as an archive, which the service makes.
export async function downloadAll(files) {
  if (files.length > MOST) throw new Error(`An archive has at most ${MOST} files.`)
  const query = new URLSearchParams({ handle: files[0].handle })
  try {
    await ask(`${SERVICE}/zip?${query}`, { method: 'HEAD' }) // an error would replace the page
  } catch (error) {
    if (!(error.status >= 500)) throw error
    throw new Error('The application cannot make an archive. Download the files one by one.')
  }
  const field = (name, value) => element('input', { type: 'hidden', name, value })
  const fields = files.map(({ handle }) => field('handle', handle))
  const action = `${SERVICE}/zip`
  const form = element('form', { method: 'post', action }, field('name', 'files.zip'), ...fields)
  document.body.append(form)
  form.submit()
  form.remove()
}

// Copy a link to a file; show it in a box of its own, in place of an earlier one.
export async function copyLink(file, place) {
  const { url, expires_at: expires } = await ask(`${urlOf(file.handle)}?link`)
  const isCopied = await copy(url)
  const copied = isCopied ? 'Link copied' : 'Copy this link'
  const words = `${copied}. Anyone with the link can download the file until ${ending(expires)}.`
  const field = element('input', { readOnly: true, value: url, ariaLabel: `Link to ${file.name}` })
  tell(place, element('span', {}, words), field)
  say(words)
  if (!isCopied) field.select()
}

// Show a message about a file in its row or its preview.
export function tell(place, ...content) {
  place.querySelector('.link')?.remove()
  place.append(element('div', { className: 'wide link' }, ...content))
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return false // browsers allow clipboard access only to secure pages that have focus
  }
}

function ending(expires) {
  const date = new Date(expires)
  const minutes = Math.round((date - Date.now()) / 60000)
  if (minutes >= 24 * 60) return date.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })
  const left = minutes < 1 ? 'in less than a minute' : `in ${minutes} min`
  return `${date.toLocaleTimeString([], { timeStyle: 'short' })}, ${left}`
}
