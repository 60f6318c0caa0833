// Previews of images, PDF, audio, video and text.

import { byId, element } from './elements.js'
import { size } from './format.js'
import { urlOf } from './service.js'
import { isImage } from './thumbnails.js'

const TEXT = 100_000 // maximum bytes of a text preview
const PDF = 100_000_000 // maximum bytes of a PDF preview

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
      place.replaceChildren() // also stops audio and video
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
  const shown = { src: url, onerror: () => fail(new Error('Your browser cannot show this file.')) }
  const played = { ...shown, controls: true, preload: 'metadata', ariaLabel: file.name }
  if (isImage(file)) return element('img', { ...shown, alt: file.name })
  if (type.startsWith('video/')) return element('video', played)
  if (type.startsWith('audio/')) return element('audio', played)
  if (type === 'application/pdf' && file.size <= PDF) return pdf(url, file, signal)
  if (type.startsWith('text/') || type === 'application/json') return text(url, file, signal)
  return element('p', {}, `No preview for files of type ${type}. Open the file instead.`)
}

async function pdf(url, file, signal) {
  const response = await load(url, { signal })
  const blob = new Blob([await response.blob()], { type: 'application/pdf' })
  const src = URL.createObjectURL(blob)
  signal.addEventListener('abort', () => URL.revokeObjectURL(src))
  return element('iframe', { src, title: file.name })
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
  throw new Error(`Cannot load the file: ${response.status} ${response.statusText}`)
}
