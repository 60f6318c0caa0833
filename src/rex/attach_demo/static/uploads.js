// The uploads that are on their way: a row each, and the sum of all.

import { byId, element, say } from './elements.js'
import { duration, size } from './format.js'
import { uppy } from './uploader.js'

const EVERY = 150 // milliseconds between two looks
const MEMORY = 3000 // milliseconds over which the speed is taken

const rows = new Map()
const finished = { bytes: 0, count: 0 }
let speedOfAll = meter()
let isDue = false

export function showUploads(onStored) {
  uppy.on('state-update', () => {
    if (isDue) return
    isDue = true
    setTimeout(() => {
      isDue = false
      show()
    }, EVERY)
  })
  uppy.on('upload-success', (file) => {
    finished.bytes += file.size
    finished.count += 1
    say(`${file.name} is stored`)
    // It is Uppy's no more, but the storage's.
    queueMicrotask(() => uppy.removeFile(file.id))
    onStored()
  })
  uppy.on('upload-error', (file, error) => say(`${file.name} failed: ${error.message}`))
  byId('pause-all').addEventListener('click', () => {
    if (isAllPaused()) uppy.resumeAll()
    else uppy.pauseAll()
  })
  byId('cancel-all').addEventListener('click', () => uppy.cancelAll())
}

const isAllPaused = () => uppy.getFiles().every((file) => file.isPaused || file.error)
const sent = (file) => file.progress.bytesUploaded || 0

function show() {
  const files = uppy.getFiles()
  const ids = new Set(files.map((file) => file.id))
  for (const [id, row] of rows) {
    if (ids.has(id)) continue
    row.remove()
    rows.delete(id)
  }
  for (const file of files) {
    if (!rows.has(file.id)) {
      rows.set(file.id, makeRow(file.id))
      byId('uploads').append(rows.get(file.id))
    }
    rows.get(file.id).show(file)
  }
  byId('uploading').hidden = files.length === 0
  showTotal(files)
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
  const state = isAllPaused() ? ', paused' : pace(speedOfAll(done), all - done)
  byId('total-text').textContent =
    count > 1 ? `${finished.count} of ${count} files, ${size(done)} of ${size(all)}${state}` : ''
  byId('total').hidden = count === 1
  byId('total').value = all ? done / all : 0
  byId('pause-all').textContent = isAllPaused() ? 'Resume all' : 'Pause all'
}

function pace(speed, left) {
  return speed < 1 ? '' : `, ${size(speed)}/s, ${duration(left / speed)} left`
}

function makeRow(id) {
  const name = element('span', { className: 'name' })
  const detail = element('span', { className: 'detail' })
  const bar = element('progress', { className: 'wide', max: 1, value: 0 })
  const pause = element('button', { type: 'button', onclick: () => uppy.pauseResume(id) })
  const retry = element('button', { type: 'button', onclick: () => uppy.retryUpload(id) }, 'Retry')
  const cancel = element('button', { type: 'button', onclick: () => uppy.removeFile(id) }, 'Cancel')
  const actions = element('div', { className: 'actions' }, pause, retry, cancel)
  const speedOf = meter()
  const row = element('li', {}, element('div', {}, name, ' ', detail), actions, bar)
  row.show = (file) => {
    const speed = speedOf(sent(file))
    name.textContent = file.name
    detail.textContent = stateOf(file, speed)
    bar.value = file.size ? sent(file) / file.size : 0
    bar.setAttribute('aria-label', file.name)
    row.classList.toggle('failed', Boolean(file.error))
    pause.textContent = file.isPaused ? 'Resume' : 'Pause'
    pause.hidden = Boolean(file.error || file.isGhost)
    retry.hidden = !file.error
    for (const [button, verb] of [[pause, pause.textContent], [retry, 'Retry'], [cancel, 'Cancel']]) {
      button.setAttribute('aria-label', `${verb} ${file.name}`)
    }
  }
  return row
}

// Bytes in a second, over the last few seconds.
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
  if (file.isGhost) return `${part}. The browser has not kept it: choose it again to go on.`
  if (file.error) return `Failed: ${file.error}`
  if (file.isPaused) return `${part}, paused`
  if (!file.progress.uploadStarted) return `${size(file.size)}, waiting`
  if (sent(file) >= file.size) return `${size(file.size)}, being stored …`
  return part + pace(speed, file.size - sent(file))
}
