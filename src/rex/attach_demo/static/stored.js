// The list of stored files: searched, sorted, in pages, and the same in all tabs.

import { claim, sendClaims } from './claims.js'
import { byId, say } from './elements.js'
import { copyLink, download, downloadAll, tell } from './links.js'
import { setUpMenu } from './menu.js'
import { preview, setUpPreview } from './preview.js'
import { inform, remove } from './removal.js'
import { makeRow } from './rows.js'
import { keepSelected, setUpSelection } from './selection.js'
import { ask } from './service.js'
import { setUpToast } from './toast.js'

const PAGE = 50
const SEARCH_PAUSE = 200 // milliseconds
const RELOAD_PAUSE = 1000 // milliseconds between two loads without an action of the user

const made = new Map() // rows by handle
const mine = new Set() // handles uploaded by this page
const gone = new Set() // handles removed by this page, which a list may still contain
const tabs = new BroadcastChannel('attachments')
let limit = PAGE
let current = null
let isWanted = false
let loaded = 0
let timer = 0

export function showStored() {
  setUpMenu()
  setUpToast()
  setUpPreview({ ...actions, files: () => [...byId('stored').children].map(({ file }) => file) })
  setUpSelection({
    onDownload: (files) => downloadAll(files).catch(({ message }) => inform(message)),
    onRemove: (files) => removeAll(files),
  })
  let pause = 0
  byId('search').addEventListener('input', () => {
    clearTimeout(pause)
    pause = setTimeout(loadFirst, SEARCH_PAUSE)
  })
  byId('sort').addEventListener('change', loadFirst)
  byId('more').addEventListener('click', () => {
    limit += PAGE
    load()
  })
  byId('failure').querySelector('button').addEventListener('click', load)
  tabs.addEventListener('message', loadSoon)
  document.addEventListener('visibilitychange', loadSoon)
  addEventListener('online', loadSoon)
  sendClaims(noteClaimed)
  load()
}

export function noteUploaded(handle) {
  mine.add(handle)
  claim(handle)
}

function noteClaimed({ listed, reasons, waiting }) {
  byId('unlisted').hidden = listed.length > 0 || waiting === 0
  const files = waiting === 1 ? 'One file is' : `${waiting} files are`
  byId('unlisted').textContent = `${files} uploaded, and will be listed when the application answers.`
  if (reasons.length > 0) inform(`Uploaded, but not listed. ${reasons[0]}`)
  if (listed.length > 0) changed()
}

// Tell the other tabs as well.
function changed() {
  tabs.postMessage('changed')
  loadSoon()
}

function loadFirst() {
  limit = PAGE
  load()
}

function loadSoon() {
  if (document.hidden) return // it is loaded when it is shown
  timer ||= setTimeout(load, Math.max(0, loaded + RELOAD_PAUSE - performance.now()))
}

// Load the list from the start; calls during a load cause one more load.
function load() {
  clearTimeout(timer)
  timer = 0
  isWanted = true
  current ??= loadWanted().finally(() => {
    current = null
  })
}

async function loadWanted() {
  byId('loading').hidden = byId('stored').children.length > 0
  while (isWanted) {
    isWanted = false
    loaded = performance.now()
    const q = byId('search').value.trim()
    try {
      show(await ask(`files?${new URLSearchParams({ q, limit, sort: byId('sort').value })}`), q)
    } catch (error) {
      byId('failure').querySelector('p').textContent = error.message
      byId('failure').hidden = false
      byId('stored').classList.add('stale')
    }
  }
  byId('loading').hidden = true
}

function show({ files, total }, wanted) {
  byId('failure').hidden = true
  byId('stored').classList.remove('stale')
  const there = files.filter(({ handle }) => !gone.has(handle))
  const rows = there.map((file) => {
    if (!made.has(file.handle)) made.set(file.handle, makeRow(file, actions))
    const row = made.get(file.handle)
    row.show({ isNew: mine.has(file.handle) })
    return row
  })
  place(rows)
  keepSelected(new Set(there.map(({ handle }) => handle)))
  showCount(rows.length, total - (files.length - there.length), wanted)
}

function showCount(shown, count, wanted) {
  const number = shown < count ? `${shown} of ${count}` : count
  byId('count').textContent = count === 0 ? '' : `${number} ${count === 1 ? 'file' : 'files'}`
  byId('search').hidden = count === 0 && !wanted
  byId('sort').hidden = count < 2
  byId('more').hidden = shown >= count
  byId('empty').hidden = count > 0
  byId('empty').textContent = wanted ? `No file name contains “${wanted}”.` : 'No files yet.'
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

const actions = {
  look: (file) => preview(file),
  save: (file, place) => download(file).catch((error) => explain(error, file, place)),
  copy: (file, place) => copyLink(file, place).catch((error) => explain(error, file, place)),
  remove: (file) => removeAll([file]),
  lost: (file) => forget(file),
}

function removeAll(files) {
  const rows = files.map(({ handle }) => made.get(handle))
  return remove(files, (handles, isHidden) => {
    if (isHidden === null) return changed()
    for (const handle of handles) isHidden ? gone.add(handle) : gone.delete(handle)
    if (isHidden) leave(rows)
    else load()
  })
}

// Take rows away; the focus goes to the row that follows.
function leave(rows) {
  const leaving = new Set(rows)
  let next = rows.at(-1).nextElementSibling ?? rows[0].previousElementSibling
  while (leaving.has(next)) next = next.previousElementSibling
  for (const row of rows) row.remove()
  const place = next?.querySelector('.look') ?? byId('files')
  if (!document.querySelector('dialog[open]')) place.focus()
  load()
}

function explain({ isGone, message }, file, place) {
  if (isGone) {
    forget(file)
    inform(message)
  } else {
    tell(place, message)
    say(message)
  }
}

// Another tab, or another program, has removed a file.
function forget({ handle }) {
  gone.add(handle)
  leave([made.get(handle)])
}
