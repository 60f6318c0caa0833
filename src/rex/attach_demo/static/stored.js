// The files that are stored: newest first, found by name, page by page.

import { byId, element, say } from './elements.js'
import { age, kind, size } from './format.js'
import { preview } from './preview.js'
import { ask, urlOf } from './service.js'
import { thumbnail } from './thumbnails.js'

const SEARCH_PAUSE = 200 // milliseconds

let shown = new Map() // rows by handle
let total = 0
let isFirst = true
let latest = 0

export function showStored() {
  let pause = 0
  byId('search').addEventListener('input', () => {
    clearTimeout(pause)
    pause = setTimeout(load, SEARCH_PAUSE)
  })
  byId('more').addEventListener('click', () => load({ more: true }))
  byId('failure').querySelector('button').addEventListener('click', () => load())
  return load()
}

// Load the list anew, or one page more of it; of several at once, the last counts.
export async function load({ more = false } = {}) {
  latest += 1
  const mine = latest
  const wanted = byId('search').value.trim()
  byId('loading').hidden = shown.size > 0
  byId('failure').hidden = true
  try {
    const query = new URLSearchParams({ q: wanted, offset: more ? shown.size : 0 })
    const page = await ask(`files?${query}`)
    if (mine === latest) show(page, wanted, more)
  } catch (error) {
    if (mine === latest) fail(error)
  } finally {
    if (mine === latest) byId('loading').hidden = true
  }
}

function show(page, wanted, more) {
  const rows = new Map(more ? shown : [])
  for (const file of page.files) {
    const row = shown.get(file.handle) ?? makeRow(file)
    row.classList.toggle('new', !isFirst && !wanted && !more && !shown.has(file.handle))
    rows.set(file.handle, row)
  }
  place([...rows.values()])
  shown = rows
  total = page.total
  isFirst = false
  showCount(wanted)
}

// Rows that stay are not touched, so that nobody loses the place where he is.
function place(rows) {
  const list = byId('stored')
  const kept = new Set(rows)
  for (const row of [...list.children]) if (!kept.has(row)) row.remove()
  rows.forEach((row, index) => {
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null)
  })
}

function showCount(wanted) {
  const number = shown.size < total ? `${shown.size} of ${total}` : total
  byId('count').textContent = total > 0 ? number : ''
  byId('search').hidden = total === 0 && !wanted
  byId('more').hidden = shown.size >= total
  byId('empty').hidden = total > 0
  byId('empty').textContent = wanted
    ? `No file has “${wanted}” in its name.`
    : 'Nothing here yet. Your first file is one drop away.'
}

function fail(error) {
  byId('failure').hidden = false
  byId('failure').querySelector('p').textContent = error.message
}

function makeRow(file) {
  const stored = new Date(file.modified)
  const name = element('button', { type: 'button', className: 'name' }, file.name)
  const time = element('time', { dateTime: file.modified, title: stored.toLocaleString() })
  const details = `${size(file.size)} · ${kind(file.content_type)} · `
  const open = { className: 'button', href: urlOf(file.handle), target: '_blank', rel: 'noopener' }
  const row = element(
    'li',
    {},
    thumbnail(file),
    element('div', {}, name, element('div', { className: 'detail' }, details, time)),
    element(
      'div',
      { className: 'actions' },
      action('a', 'Open', file, open),
      action('button', 'Copy link', file, { type: 'button', onclick: () => copyLink(file, row) }),
      action('button', 'Remove', file, {
        type: 'button',
        className: 'danger',
        onclick: () => remove(file, row),
      }),
    ),
  )
  name.addEventListener('click', () => preview(file))
  time.textContent = age(stored)
  return row
}

const action = (tag, verb, file, properties) =>
  element(tag, { ...properties, ariaLabel: `${verb} ${file.name}` }, verb)

async function copyLink(file, row) {
  const box = element('div', { className: 'wide link' })
  row.querySelector('.link')?.remove()
  row.append(box)
  try {
    const link = await ask(`${urlOf(file.handle)}?link`)
    const until = new Date(link.expires_at)
    const ends = `${until.toLocaleTimeString([], { timeStyle: 'short' })}, ${untilEnd(until)}`
    const copied = await copy(link.url)
    const words = `${copied ? 'Copied' : 'Copy this'}. Whoever has it may download the file until ${ends}.`
    const field = { readOnly: true, value: link.url, ariaLabel: `Link to ${file.name}` }
    box.append(element('span', { role: 'status' }, words), element('input', field))
    if (!copied) box.querySelector('input').select()
  } catch (error) {
    box.append(element('span', { role: 'alert' }, error.message))
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return false // a browser gives the clipboard to secure pages that are looked at
  }
}

function untilEnd(date) {
  const minutes = Math.round((date - Date.now()) / 60000)
  return minutes < 1 ? 'in less than a minute' : `in ${minutes} min`
}

async function remove(file, row) {
  if (!(await confirmed(`Remove ${file.name} for good?`))) return
  try {
    await ask(urlOf(file.handle), { method: 'DELETE' })
  } catch (error) {
    row.querySelector('.link')?.remove()
    row.append(element('div', { className: 'wide link', role: 'alert' }, error.message))
    return
  }
  const next = row.nextElementSibling ?? row.previousElementSibling
  row.remove()
  shown.delete(file.handle)
  total -= 1
  showCount(byId('search').value.trim())
  say(`${file.name} is removed`)
  ;(next?.querySelector('.name') ?? byId('files')).focus()
}

function confirmed(question) {
  const dialog = byId('confirm')
  byId('confirm-text').textContent = question
  dialog.returnValue = ''
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'remove'), { once: true })
  })
}
