// A look at a file without leaving the page: images, PDF, audio, video and text.

import { byId, element } from './elements.js'
import { size } from './format.js'
import { urlOf } from './service.js'
import { isImage } from './thumbnails.js'

const TEXT = 100_000 // bytes of a text that are shown
const PDF = 100_000_000 // bytes: a larger one is opened, not shown here

let end = () => {}

export function preview(file) {
  const dialog = byId('preview')
  byId('preview-name').textContent = file.name
  byId('preview-open').href = urlOf(file.handle)
  byId('preview-content').replaceChildren(element('p', { role: 'status' }, 'Loading …'))
  dialog.showModal()
  let isOpen = true
  dialog.addEventListener(
    'close',
    () => {
      isOpen = false
      byId('preview-content').replaceChildren() // which also ends what is playing
      end()
      end = () => {}
    },
    { once: true },
  )
  content(file)
    .catch((error) => element('p', { role: 'alert' }, error.message))
    .then((shown) => isOpen && byId('preview-content').replaceChildren(shown))
}

export function closePreview() {
  byId('preview-close').addEventListener('click', () => byId('preview').close())
}

async function content(file) {
  const url = urlOf(file.handle)
  const type = file.content_type.split(';')[0]
  if (isImage(file)) return element('img', { src: url, alt: file.name })
  if (type.startsWith('video/')) return media('video', url, file)
  if (type.startsWith('audio/')) return media('audio', url, file)
  if (type === 'application/pdf' && file.size <= PDF) return pdf(url, file)
  if (type.startsWith('text/') || type === 'application/json') return text(url, file)
  return element('p', {}, `There is no preview of this type, ${type}. Open it, or save it.`)
}

const media = (tag, url, file) =>
  element(tag, { src: url, controls: true, preload: 'metadata', ariaLabel: file.name })

async function pdf(url, file) {
  const blob = new Blob([await (await fetched(url)).blob()], { type: 'application/pdf' })
  const src = URL.createObjectURL(blob)
  end = () => URL.revokeObjectURL(src)
  return element('iframe', { src, title: file.name })
}

async function text(url, file) {
  const part = file.size > TEXT
  const response = await fetched(url, part ? { headers: { Range: `bytes=0-${TEXT - 1}` } } : {})
  const more = part ? `\n… ${size(file.size - TEXT)} more` : ''
  return element('pre', { tabIndex: 0 }, (await response.text()) + more)
}

async function fetched(url, options) {
  const response = await fetch(url, options)
  if (!response.ok) throw new Error(`It cannot be had: ${response.status} ${response.statusText}`)
  return response
}
