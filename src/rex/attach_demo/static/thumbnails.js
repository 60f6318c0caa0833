// Thumbnails of images, rendered in the browser; pictures of their kind for other files.

import { element } from './elements.js'
import { extension } from './format.js'
import { icon } from './icons.js'
import { kindOf } from './kinds.js'
import { urlOf } from './service.js'

const SIDE = 96 // pixels
const LARGEST = 25_000_000 // maximum bytes of an image to fetch for a thumbnail
const TYPES = ['image/avif', 'image/bmp', 'image/gif', 'image/jpeg', 'image/png', 'image/webp']

const files = new WeakMap()
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue
    seen.unobserve(target)
    draw(target, files.get(target))
  }
})

export const isImage = (file) => TYPES.includes(file.content_type)

export function thumbnail(file) {
  const [, picture] = kindOf(file.content_type)
  const content = [icon(picture), element('span', {}, extension(file.name))]
  const box = element('div', { className: `thumb ${picture}`, ariaHidden: 'true' }, ...content)
  if (isImage(file) && file.size <= LARGEST) {
    files.set(box, file)
    seen.observe(box)
  }
  return box
}

async function draw(box, file) {
  try {
    const response = await fetch(urlOf(file.handle))
    if (!response.ok) return
    const image = await createImageBitmap(await response.blob())
    const canvas = element('canvas', { width: SIDE, height: SIDE })
    const scale = SIDE / Math.min(image.width, image.height)
    const [width, height] = [image.width * scale, image.height * scale]
    const place = [(SIDE - width) / 2, (SIDE - height) / 2, width, height]
    canvas.getContext('2d').drawImage(image, ...place)
    image.close()
    box.replaceChildren(canvas)
  } catch {
    // The file is not an image, despite its type; the picture stays.
  }
}
