// File names as elements: isolated from the text around them, and cut in the middle if long.

import { element } from './elements.js'

const LETTER = 9 // pixels, of a wide Latin letter
const BESIDE = 160 // pixels that a row needs beside the name
const WIDEST = 760 // pixels of a line of a name
const END = 14 // letters kept at the end, with the extension

// Chinese, Japanese and Korean letters, which take two places (Unicode, UAX 11).
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60]/

const segmenter = new Intl.Segmenter()

// Return an element with a name of at most so many lines; its title is the whole name.
export function nameOf(text, { lines = 1 } = {}) {
  const room = Math.floor(Math.min(WIDEST, Math.max(innerWidth - BESIDE, 130)) / LETTER) * lines
  return element('span', { className: 'name', title: text }, element('bdi', {}, cut(text, room)))
}

// Isolate a name in a text that is not an element, such as an announcement (Unicode, UAX 9).
export const isolated = (text) => `\u2068${text}\u2069`

function cut(text, places) {
  const room = WIDE.test(text) ? Math.floor(places / 2) : places
  if (text.length <= room) return text
  const letters = [...segmenter.segment(text)].map(({ segment }) => segment)
  if (letters.length <= room) return text
  return `${letters.slice(0, room - END - 1).join('')}…${letters.slice(-END).join('')}`
}
