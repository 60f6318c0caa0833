// File names: isolated from the text around them (right-to-left names do not mix with it), and
// cut in the middle where they are too long, so that the extension stays.

import { element } from './elements.js'

const END = 6 // characters kept before the extension
const LONGEST = 256 // more than half the characters of a name; a power of 2

const fitted = new WeakMap() // the width for which a name was cut
const waiting = new Set()
const widths = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    if (contentRect.width === 0 || contentRect.width === fitted.get(target)) continue
    fitted.set(target, contentRect.width)
    // Here, the browser has just computed the layout, so that measuring costs nothing.
    if (isTooLong(target) || target.childElementCount > 0) waiting.add(target)
  }
  if (waiting.size > 0) requestAnimationFrame(fit)
})

// Return an element with a name; with `lines`, a block of at most this many lines. Its text
// is the whole name even if it is cut: for searching, copying and screen readers.
export function nameOf(text, { lines = 0 } = {}) {
  const name = element('bdi', { className: 'name', title: text }, text)
  if (lines === 0) return name
  name.classList.add('fitted')
  name.style.setProperty('--lines', lines)
  widths.observe(name)
  return name
}

// All names together, so that the browser computes the layout once for each step.
function fit() {
  const names = [...waiting]
  waiting.clear()
  for (const name of names) name.replaceChildren(name.title)
  const long = names.filter(isTooLong).map(parse)
  for (let step = LONGEST; step >= 1; step /= 2) {
    const tried = long.filter(({ kept, most }) => kept + step <= most)
    for (const parts of tried) cut(parts, parts.kept + step)
    for (const parts of tried.filter(({ name }) => !isTooLong(name))) parts.kept += step
  }
  for (const parts of long) cut(parts, parts.kept)
}

const isTooLong = (name) => name.scrollHeight > name.clientHeight + 1

// A name as the user's characters: a letter with its accents is one, so is an emoji.
function parse(name) {
  const characters = [...new Intl.Segmenter().segment(name.title)].map(({ segment }) => segment)
  const dot = characters.lastIndexOf('.')
  const extension = characters.length - dot <= 10 ? characters.length - dot : 0
  const end = Math.min(characters.length - 1, extension + END)
  return { name, characters, end, kept: 1, most: characters.length - end - 1 }
}

function cut({ name, characters, end }, kept) {
  const middle = characters.slice(kept, -end).join('')
  const parts = [characters.slice(0, kept).join(''), characters.slice(-end).join('')]
  name.replaceChildren(parts[0], element('span', { className: 'cut' }, middle), parts[1])
}
