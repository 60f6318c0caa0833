// The running uploads: rows for those that move, the number of the rest, and the total.

import { byId, say } from './elements.js'
import { duration, percent } from './format.js'
import { nameOf } from './names.js'
import * as queue from './queue.js'
import { handleOf } from './service.js'
import { noteStored } from './traffic.js'
import { change, makeRow, meter, stateOf } from './upload-row.js'

const EVERY = 250 // milliseconds between updates
const WAITING = 10 // rows for uploads that wait
const UNDO = 5000 // milliseconds in which uploads that were cancelled can be brought back
const STOPPED = 20 // rows for uploads that are paused or have failed
const { title } = document

const rows = new Map()
let speedOfAll = meter()
let ticking = 0
let frame = 0
let undoing = 0

export function showUploads(onStored) {
  queue.watchQueue({
    changed: showSoon,
    stored(upload, response) {
      say(`${upload.name} stored`)
      noteStored(upload)
      onStored(handleOf(response))
    },
    failed: (upload) => say(`${upload.name}: ${stateOf(upload, 0)}`),
  })
  byId('pause-all').addEventListener('click', () => {
    if (queue.isAllPaused()) queue.resumeAll()
    else queue.pauseAll()
    show()
  })
  byId('retry-all').addEventListener('click', () => {
    queue.retryAll()
    byId('pause-all').focus()
  })
  byId('cancel-all').addEventListener('click', () => {
    cancel([...queue.others.values(), ...queue.waiting.values()])
  })
  byId('undo').addEventListener('click', () => {
    queue.undoCancel()
    show()
    byId('cancel-all').focus()
  })
  byId('undo-close').addEventListener('click', forgetCancelled)
}

function cancel(uploads) {
  queue.cancel(uploads)
  const text = uploads.length === 1 ? uploads[0].name : `${uploads.length} uploads`
  const name = uploads.length === 1 ? nameOf(text, { lines: 1 }) : text
  byId('cancelled').firstElementChild.replaceChildren(name, ' cancelled')
  say(`${text} cancelled`)
  show()
  if (byId('uploading').hidden) byId('undo').focus()
  clearTimeout(undoing)
  undoing = setTimeout(expire, UNDO)
}

// The message stays while the pointer or the user's focus is in it.
function expire() {
  const message = byId('cancelled')
  if (message.matches(':hover') || message.querySelector(':focus-visible')) {
    undoing = setTimeout(expire, UNDO)
  } else forgetCancelled()
}

function forgetCancelled() {
  if (byId('cancelled').contains(document.activeElement)) byId('files').focus()
  queue.finishCancel()
}

// At most once for each frame, however many uploads change; not at all in a hidden tab.
function showSoon() {
  frame ||= requestAnimationFrame(show)
  // Update periodically while there are uploads: their speed also drops when they stall.
  ticking ||= setInterval(show, EVERY)
}

function show() {
  cancelAnimationFrame(frame)
  frame = 0
  const { shown, rest } = choose()
  place(shown)
  const isEmpty = shown.length === 0
  byId('uploading').hidden = isEmpty
  byId('rest').hidden = rest === ''
  change(byId('rest'), rest)
  byId('cancelled').hidden = queue.countCancelled() === 0
  showTotal(isEmpty)
  if (!isEmpty) return
  clearInterval(ticking)
  ticking = 0
}

// Return the uploads that have rows, and words for the others.
function choose() {
  const others = [...queue.others.values()]
  const stopped = others.filter(({ state }) => state !== 'active' && state !== 'lost')
  const left = new Set(stopped.slice(STOPPED))
  const shown = others.filter((upload) => !left.has(upload))
  for (const upload of queue.waiting.values()) {
    if (shown.length >= others.length - left.size + WAITING) break
    shown.push(upload)
  }
  const failed = [...left].filter(({ state }) => state === 'failed').length
  const counts = [
    [failed, 'failed'],
    [left.size - failed, 'paused'],
    [others.length + queue.waiting.size - shown.length - left.size, queue.waitingState()],
  ]
  const words = counts.filter(([count]) => count > 0).map((pair) => pair.join(' '))
  return { shown, rest: words.length > 0 ? `and ${words.join(', ')}` : '' }
}

// Rows that remain are left in place; the focus moves from a row that goes to the next.
function place(uploads) {
  const list = byId('uploads')
  const kept = new Set(uploads.map(({ key }) => key))
  let isLost = false
  for (const [key, row] of rows) {
    if (kept.has(key)) continue
    isLost ||= row.contains(document.activeElement)
    const next = isLost && (row.nextElementSibling ?? row.previousElementSibling)
    row.remove()
    rows.delete(key)
    if (!isLost) continue
    const place = next?.querySelector('button:not([hidden])') ?? byId('files')
    place.focus()
    isLost = false
  }
  uploads.forEach((upload, index) => {
    if (!rows.has(upload.key)) rows.set(upload.key, makeRow(upload, (one) => cancel([one])))
    const row = rows.get(upload.key)
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null)
    row.show(upload)
  })
}

function showTotal(isEmpty) {
  if (isEmpty) {
    speedOfAll = meter()
    showTitle(title)
    return
  }
  const { files, done, cost, left, share } = queue.progress()
  const canPause = queue.canPause()
  const isPaused = canPause && queue.isAllPaused()
  const isAway = queue.isServerAway()
  const failed = queue.countFailed()
  const speed = speedOfAll(cost)
  const states = []
  if (files > 1) states.push(`${done} of ${files} done`)
  if (files > 1 && failed > 0) states.push(`${failed} failed`)
  if (canPause) states.push(percent(share))
  if (isAway) states.push('Waiting for the server …')
  else if (isPaused) states.push('paused')
  else if (speed >= 1) states.push(`${duration(left / speed)} left`)
  change(byId('total-text'), states.join(' · '))
  byId('uploading').classList.toggle('away', isAway)
  byId('total').hidden = files === 1
  byId('total').value = share
  showTitle(canPause ? `${percent(share)} · ${title}` : title)
  byId('pause-all').hidden = !canPause
  change(byId('pause-all'), isPaused ? 'Resume all' : 'Pause all')
  byId('retry-all').hidden = failed < 2
}

// The browser tells its other processes of each title.
function showTitle(text) {
  if (document.title !== text) document.title = text
}
