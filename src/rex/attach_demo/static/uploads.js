// The running uploads: a row for each, and the total.

import { byId, element, say } from './elements.js'
import { duration, size } from './format.js'
import { handleOf } from './service.js'
import { cancel, isLost, isWaiting, pause, resume, retry, uppy } from './uploader.js'

const EVERY = 250 // milliseconds between updates
const MEMORY = 3000 // milliseconds over which the speed is averaged

const rows = new Map()
const finished = { bytes: 0, count: 0 }
let speedOfAll = meter()
let ticking = 0

export function showUploads(onStored) {
  uppy.on('files-added', watch)
  uppy.on('restored', watch)
  uppy.on('file-removed', ({ id }) => leave(id))
  uppy.on('upload-success', (file, response) => {
    finished.bytes += file.size
    finished.count += 1
    say(`${file.name} stored`)
    onStored(handleOf(response))
  })
  uppy.on('upload-error', (file) => say(`${file.name}: ${stateOf(uppy.getFile(file.id), 0)}`))
  byId('pause-all').addEventListener('click', () => {
    const isPaused = isAllPaused()
    const act = isPaused ? resume : pause
    for (const file of ready()) if (Boolean(file.isPaused) === isPaused) act(file.id)
    show()
  })
  byId('cancel-all').addEventListener('click', () => {
    for (const { id } of uppy.getFiles()) cancel(id)
    byId('files').focus()
  })
}

// Uploads that can be paused.
const ready = () => uppy.getFiles().filter((file) => !file.error && !file.isGhost)
const isAllPaused = () => ready().every((file) => file.isPaused)
const sent = (file) => file.progress.bytesUploaded || 0

// Update periodically while there are uploads, so that the speed also drops when they stall.
function watch() {
  ticking ||= setInterval(show, EVERY)
  show()
}

function show() {
  const files = uppy.getFiles()
  for (const file of files) {
    if (!rows.has(file.id)) {
      rows.set(file.id, makeRow(file.id))
      byId('uploads').append(rows.get(file.id))
    }
    rows.get(file.id).show(file)
  }
  byId('uploading').hidden = files.length === 0
  showTotal(files)
  if (files.length > 0) return
  clearInterval(ticking)
  ticking = 0
}

// Remove a row; move the focus from it to the next row.
function leave(id) {
  const row = rows.get(id)
  if (!row) return
  if (row.contains(document.activeElement)) {
    const other = row.nextElementSibling ?? row.previousElementSibling
    const place = other?.querySelector('button:not([hidden])') ?? byId('files')
    place.focus()
  }
  row.remove()
  rows.delete(id)
  show()
}

function showTotal(files) {
  if (files.length === 0) {
    Object.assign(finished, { bytes: 0, count: 0 })
    speedOfAll = meter()
    return
  }
  const all = files.reduce((sum, file) => sum + file.size, finished.bytes)
  const done = files.reduce((sum, file) => sum + sent(file), finished.bytes)
  const count = finished.count + files.length
  const isPaused = ready().length > 0 && isAllPaused()
  const state = isPaused ? ', paused' : pace(speedOfAll(done), all - done)
  byId('total-text').textContent =
    count > 1 ? `${finished.count} of ${count} files, ${size(done)} of ${size(all)}${state}` : ''
  byId('total').hidden = count === 1
  byId('total').value = all ? done / all : 0
  byId('pause-all').hidden = ready().length === 0
  byId('pause-all').textContent = isPaused ? 'Resume all' : 'Pause all'
}

function pace(speed, left) {
  return speed < 1 ? '' : `, ${size(speed)}/s, ${duration(left / speed)} left`
}

function makeRow(id) {
  const name = element('span', { className: 'name' })
  const detail = element('span', { className: 'detail' })
  const bar = element('progress', { className: 'wide', max: 1, value: 0 })
  const button = (onclick) => element('button', { type: 'button', onclick })
  const pausing = button(() => (uppy.getFile(id).isPaused ? resume(id) : pause(id)))
  const retrying = button(() => {
    retry(id)
    show()
    pausing.focus()
  })
  const cancelling = button(() => cancel(id))
  const actions = element('div', { className: 'actions' }, pausing, retrying, cancelling)
  const row = element('li', {}, element('div', {}, name, ' ', detail), actions, bar)
  const speedOf = meter()
  row.show = (file) => {
    name.textContent = file.name
    detail.textContent = stateOf(file, speedOf(sent(file)))
    bar.value = file.size ? sent(file) / file.size : 0
    bar.ariaLabel = file.name
    row.classList.toggle('failed', Boolean(file.error) && !isLost(file))
    pausing.hidden = Boolean(file.error || file.isGhost)
    retrying.hidden = !file.error || Boolean(file.isGhost)
    for (const [made, label] of [
      [pausing, file.isPaused ? 'Resume' : 'Pause'],
      [retrying, 'Retry'],
      [cancelling, 'Cancel'],
    ]) {
      made.textContent = label
      made.ariaLabel = `${label} ${file.name}`
    }
  }
  return row
}

// Return a function that computes the speed in bytes per second over the last few seconds.
function meter() {
  let samples = []
  return (done) => {
    const now = performance.now()
    samples = [...samples.filter(({ time }) => now - time < MEMORY), { time: now, done }]
    const [first] = samples
    return now === first.time ? 0 : Math.max(0, ((done - first.done) * 1000) / (now - first.time))
  }
}

function stateOf(file, speed) {
  const part = `${size(sent(file))} of ${size(file.size)}`
  if (file.isGhost) return `${part}. Choose this file again to resume the upload.`
  if (isLost(file)) return `${part}. Connection lost; retrying automatically.`
  if (file.error) return `Failed: ${reason(file.error)}`
  if (file.isPaused) return `${part}, paused`
  if (isWaiting(file)) return `${size(file.size)}, waiting`
  if (file.size > 0 && sent(file) >= file.size) return `${size(file.size)}, storing …`
  return part + pace(speed, file.size - sent(file))
}

// tus wraps the detail from the application in a technical text.
function reason(error) {
  const [, detail] = /"detail":("(?:[^"\\]|\\.)*")/.exec(error) ?? []
  return detail ? JSON.parse(detail) : error
}
