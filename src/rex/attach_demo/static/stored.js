// The list of stored files: newest first, with search by name, in pages.

import { byId, element, say } from './elements.js'
import { age, kind, size } from './format.js'
import { preview } from './preview.js'
import { ask, urlOf } from './service.js'
import { thumbnail } from './thumbnails.js'

const PAGE = 50
const SEARCH_PAUSE = 200 // milliseconds

const made = new Map() // all rows ever created, by handle
const mine = new Set() // handles uploaded by this page
const gone = new Set() // handles removed by this page, which an older list may still contain
let limit = PAGE
let current = null
let isWanted = false

export function showStored() {
  let pause = 0
  byId('search').addEventListener('input', () => {
    clearTimeout(pause)
    pause = setTimeout(() => {
      limit = PAGE
      load()
    }, SEARCH_PAUSE)
  })
  byId('more').addEventListener('click', () => {
    limit += PAGE
    load()
  })
  byId('failure').querySelector('button').addEventListener('click', load)
  load()
}

export function noteUploaded(handle) {
  mine.add(handle)
  load()
}

// Load the list from the start; calls during a load cause one more load.
function load() {
  isWanted = true
  current ??= loadWanted().finally(() => {
    current = null
  })
}

async function loadWanted() {
  byId('loading').hidden = byId('stored').children.length > 0
  byId('failure').hidden = true
  while (isWanted) {
    isWanted = false
    const wanted = byId('search').value.trim()
    try {
      show(await ask(`files?${new URLSearchParams({ q: wanted, limit })}`), wanted)
    } catch (error) {
      byId('failure').querySelector('p').textContent = error.message
      byId('failure').hidden = false
    }
  }
  byId('loading').hidden = true
}

function show({ files, total }, wanted) {
  const there = files.filter(({ handle }) => !gone.has(handle))
  const rows = there.map((file) => {
    if (!made.has(file.handle)) made.set(file.handle, makeRow(file))
    const row = made.get(file.handle)
    row.querySelector('time').textContent = age(new Date(file.modified))
    return row
  })
  place(rows)
  const count = total - (files.length - there.length)
  const number = rows.length < count ? `${rows.length} of ${count}` : count
  byId('count').textContent = count === 0 ? '' : `${number} ${count === 1 ? 'file' : 'files'}`
  byId('search').hidden = count === 0 && !wanted
  byId('more').hidden = rows.length >= count
  byId('empty').hidden = count > 0
  byId('empty').textContent = wanted
    ? `No file name contains “${wanted}”.`
    : 'No files yet. Drop a file to upload it.'
}

// Rows that remain are left in place, to keep focus and scroll position.
function place(rows) {
  const list = byId('stored')
  const kept = new Set(rows)
  for (const row of [...list.children]) if (!kept.has(row)) row.remove()
  rows.forEach((row, index) => {
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null)
  })
}

function makeRow(file) {
  const stored = new Date(file.modified)
  const name = element('button', { type: 'button', className: 'name' }, file.name)
  const time = element('time', { dateTime: file.modified, title: stored.toLocaleString() })
  const details = `${size(file.size)} · ${kind(file.content_type)} · `
  const row = element(
    'li',
    { className: mine.has(file.handle) ? 'new' : '' },
    thumbnail(file),
    element('div', {}, name, element('div', { className: 'detail' }, details, time)),
    element(
      'div',
      { className: 'actions' },
      action('a', 'Open', file, {
        className: 'button',
        href: urlOf(file.handle),
        target: '_blank',
        rel: 'noopener',
      }),
      action('button', 'Copy link', file, { type: 'button', onclick: () => copyLink(file, row) }),
      action('button', 'Remove', file, {
        type: 'button',
        className: 'danger',
        onclick: () => remove(file, row),
      }),
    ),
  )
  name.addEventListener('click', () => preview(file))
  return row
}

const action = (tag, label, file, properties) =>
  element(tag, { ...properties, ariaLabel: `${label} ${file.name}` }, label)

// Show content below a row, replacing earlier content.
function below(row, ...content) {
  row.querySelector('.link')?.remove()
  row.append(element('div', { className: 'wide link' }, ...content))
}

async function copyLink(file, row) {
  try {
    const link = await ask(`${urlOf(file.handle)}?link`)
    const isCopied = await copy(link.url)
    const until = ending(new Date(link.expires_at))
    const copied = isCopied ? 'Link copied' : 'Copy this link'
    const words = `${copied}. Anyone with the link can download the file until ${until}.`
    const field = element('input', {
      readOnly: true,
      value: link.url,
      ariaLabel: `Link to ${file.name}`,
    })
    below(row, element('span', {}, words), field)
    say(words)
    if (!isCopied) field.select()
  } catch (error) {
    below(row, error.message)
    say(error.message)
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return false // browsers allow clipboard access only to secure pages that have focus
  }
}

function ending(date) {
  const minutes = Math.round((date - Date.now()) / 60000)
  if (minutes >= 24 * 60) return date.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })
  const left = minutes < 1 ? 'in less than a minute' : `in ${minutes} min`
  return `${date.toLocaleTimeString([], { timeStyle: 'short' })}, ${left}`
}

async function remove(file, row) {
  if (!(await confirmed(`Permanently remove ${file.name}?`))) return
  const next = row.nextElementSibling ?? row.previousElementSibling
  try {
    await ask(urlOf(file.handle), { method: 'DELETE' })
  } catch (error) {
    below(row, error.message)
    say(error.message)
    return
  }
  gone.add(file.handle)
  row.remove()
  say(`${file.name} removed`)
  const place = next?.isConnected ? next.querySelector('.name') : byId('files')
  place.focus()
  load()
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
