// A look at a file without leaving the page: images, PDF, audio, video and text.

import { byId, element } from './elements.js'
import { size } from './format.js'
import { urlOf } from './service.js'
import { isImage } from './thumbnails.js'

const TEXT = 100_000 // bytes of a text that are shown
const PDF = 100_000_000 // bytes: a larger one is opened, not shown here

export function preview(file) {
  const dialog = byId('preview')
  const place = byId('preview-content')
  const closing = new AbortController()
  byId('preview-name').textContent = file.name
  byId('preview-open').href = urlOf(file.handle)
  place.replaceChildren(element('p', { role: 'status' }, 'Loading …'))
  dialog.showModal()
  dialog.addEventListener(
    'close',
    () => {
      closing.abort()
      place.replaceChildren() // which also ends what is playing
    },
    { once: true },
  )
  const show = (shown) => {
    if (!closing.signal.aborted) place.replaceChildren(shown)
  }
  const fail = ({ message }) => show(element('p', { role: 'alert' }, message))
  content(file, closing.signal, fail).then(show, fail)
}

export function closePreview() {
  byId('preview-close').addEventListener('click', () => byId('preview').close())
}

async function content(file, signal, fail) {
  const url = urlOf(file.handle)
  const type = file.content_type.split(';')[0]
  const shown = { src: url, onerror: () => fail(new Error('The browser cannot show it.')) }
  const played = { ...shown, controls: true, preload: 'metadata', ariaLabel: file.name }
  if (isImage(file)) return element('img', { ...shown, alt: file.name })
  if (type.startsWith('video/')) return element('video', played)
  if (type.startsWith('audio/')) return element('audio', played)
  if (type === 'application/pdf' && file.size <= PDF) return pdf(url, file, signal)
  if (type.startsWith('text/') || type === 'application/json') return text(url, file, signal)
  return element('p', {}, `There is no preview of this type, ${type}. Open it, or save it.`)
}

async function pdf(url, file, signal) {
  const response = await fetched(url, { signal })
  const blob = new Blob([await response.blob()], { type: 'application/pdf' })
  const src = URL.createObjectURL(blob)
  signal.addEventListener('abort', () => URL.revokeObjectURL(src))
  return element('iframe', { src, title: file.name })
}

async function text(url, file, signal) {
  const part = file.size > TEXT
  const headers = part ? { Range: `bytes=0-${TEXT - 1}` } : {}
  const response = await fetched(url, { signal, headers })
  const more = part ? `\n… ${size(file.size - TEXT)} more` : ''
  return element('pre', { tabIndex: 0 }, (await response.text()) + more)
}

async function fetched(url, options) {
  const response = await fetch(url, options)
  if (!response.ok) throw new Error(`It cannot be had: ${response.status} ${response.statusText}`)
  return response
}
