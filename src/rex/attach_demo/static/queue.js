// The queue: which uploads wait, which are active, and what becomes of those that fail.
// Uppy has only the active ones and those paused: its work for a file grows with their number.

import { forget, keep, note, noteHeld, openStore } from './kept.js'
import { LIMIT } from './service.js'
import { discard, keyOfStored, uppy, wasLost } from './uploader.js'

const AT_ONCE = 4
export const SMALL = 1_000_000 // bytes; of files up to this size,
const SMALL_AT_ONCE = 6 // so many: browsers open 6 connections to a server
const LONGEST_DELAY = 30 // maximum seconds before the next retry after a lost connection
const SILENCE = 2250 // milliseconds without a byte until the server counts as away
const FILE_COST = 100_000 // bytes that could be sent in the time that each file takes besides

// Uploads by key. The state of one is waiting, active, paused, failed (retried by the user),
// lost (retried automatically), missing (its file must be chosen again), or cancelled.
export const waiting = new Map()
export const others = new Map()
const busy = new Set() // active and lost: while the server is away, no others begin
const byFile = new Map() // those in Uppy, by Uppy's id
const total = { files: 0, bytes: 0 }
const done = { files: 0, bytes: 0 }
let isHeld = false
let cancelled = new Map() // their states before, while they can be brought back
let tell = { changed() {}, stored() {}, failed() {} }

export function watchQueue(listeners) {
  tell = listeners
}

function become(upload, state) {
  upload.state = state
  upload.heard = performance.now()
  const [place, former] = state === 'waiting' ? [waiting, others] : [others, waiting]
  former.delete(upload.key)
  place.set(upload.key, upload)
  if (['active', 'lost'].includes(state)) busy.add(upload)
  else busy.delete(upload)
}

// Add files that were chosen, dropped or pasted. Return those that are too large or already there.
export function addFiles(files) {
  finishCancel()
  const added = []
  const refused = []
  for (const file of files) {
    const upload = uploadOf(file)
    const known = others.get(upload.key) ?? waiting.get(upload.key)
    if (known ? known.state !== 'missing' : LIMIT && file.size > LIMIT) {
      refused.push(upload)
      continue
    }
    if (known) become(Object.assign(known, { data: file }), 'waiting')
    else enter(upload, 'waiting')
    added.push(known ?? upload)
  }
  keep(added)
  next()
  return refused
}

let order = 0

function uploadOf(file) {
  const { name, type, size } = file
  const path = (file.relativePath || file.webkitRelativePath || '').replace(/^\//, '')
  order = Math.max(order + 1, Date.now())
  const key = [path || name, type, size, file.lastModified].join('\n')
  return { key, name, type, size, path, data: file, order, sent: 0, delay: 0.5 }
}

function enter(upload, state) {
  count(upload, 1)
  become(upload, state)
}

function count({ size }, sign) {
  total.files += sign
  total.bytes += sign * size
}

function leave(upload) {
  waiting.delete(upload.key)
  others.delete(upload.key)
  busy.delete(upload)
  clearTimeout(upload.timer)
}

function next() {
  for (const upload of isHeld ? [] : waiting.values()) {
    if (busy.size >= (upload.size <= SMALL ? SMALL_AT_ONCE : AT_ONCE)) break
    begin(upload)
  }
  changed()
}

function changed() {
  if (waiting.size + others.size + cancelled.size === 0) {
    for (const sum of [total, done]) Object.assign(sum, { files: 0, bytes: 0 })
    if (isHeld) hold(false)
  }
  tell.changed()
}

function begin(upload) {
  const { name, type, data, path, tus, s3Multipart } = upload
  become(upload, 'active')
  if (!tus?.uploadUrl && !s3Multipart) upload.sent = 0 // it starts from the beginning
  try {
    upload.id = uppy.addFile({ name, type, data, meta: { relativePath: path || null } })
  } catch (error) {
    fail(upload, error)
    return
  }
  byFile.set(upload.id, upload)
  uppy.setFileState(upload.id, { tus, s3Multipart })
  uppy.retryUpload(upload.id).catch(() => {}) // Uppy emits errors as events
}

// Remove an upload that ended from Uppy, which has nothing more to do for it.
function end(upload) {
  const { id } = upload
  byFile.delete(id)
  upload.id = null
  queueMicrotask(() => uppy.removeFile(id))
}

uppy.on('upload-progress', (file, { bytesUploaded }) => {
  const upload = byFile.get(file.id)
  if (!upload || bytesUploaded === upload.sent) return
  Object.assign(upload, { sent: bytesUploaded, heard: performance.now(), delay: 0.5 })
  const { tus, s3Multipart } = uppy.getFile(file.id)
  const isNoted = tus?.uploadUrl === upload.tus?.uploadUrl && s3Multipart === upload.s3Multipart
  if (upload.size <= SMALL || isNoted) return
  Object.assign(upload, { tus, s3Multipart })
  note([upload])
})

uppy.on('upload-success', succeed)

function succeed(file, response) {
  const upload = byFile.get(file.id)
  if (!upload) return
  end(upload)
  if (cancelled.delete(upload)) count(upload, 1)
  leave(upload)
  forget([upload])
  done.files += 1
  done.bytes += upload.size
  tell.stored(upload, response)
  next()
}

uppy.on('upload-error', (file, error) => {
  const upload = byFile.get(file.id)
  if (!upload) return
  const key = keyOfStored(file, error)
  if (key) {
    succeed(file, { body: { key } })
    return
  }
  const { tus, s3Multipart } = uppy.getFile(file.id)
  upload.tus = tus
  upload.s3Multipart = error.serviceCode === 'NoSuchUpload' ? undefined : s3Multipart
  end(upload)
  if (upload.state !== 'active') return
  if (wasLost(error)) lose(upload)
  else fail(upload, error)
  next()
})

function fail(upload, error) {
  become(upload, 'failed')
  upload.error = error.message
  tell.failed(upload)
}

// An upload that failed by a lost connection is retried automatically, with growing delays.
function lose(upload) {
  upload.delay = Math.min(LONGEST_DELAY, upload.delay * 2)
  upload.timer = setTimeout(() => retry(upload), upload.delay * 1000)
  if (upload.state !== 'lost') become(upload, 'lost')
  const unreadable = new Error('The file was changed or removed. Choose it again.')
  upload.data.slice(0, 1).arrayBuffer().catch(() => {
    if (upload.state !== 'lost') return
    clearTimeout(upload.timer)
    fail(upload, unreadable)
    next()
  })
}

addEventListener('online', () => [...busy].filter(({ state }) => state === 'lost').forEach(retry))

// What users do.

export function pause(upload) {
  stop(upload)
  note([upload])
  next()
}

function stop(upload) {
  clearTimeout(upload.timer)
  if (upload.id) uppy.pauseResume(upload.id)
  become(upload, 'paused')
}

export function resume(upload) {
  if (upload.id) {
    become(upload, 'active')
    uppy.pauseResume(upload.id)
  } else begin(upload)
  note([upload])
  changed()
}

export function retry(upload) {
  clearTimeout(upload.timer)
  begin(upload)
  changed()
}

const inState = (wanted) => [...others.values()].filter(({ state }) => state === wanted)

export const isAllPaused = () => isHeld || busy.size + waiting.size === 0
export const canPause = () => busy.size + waiting.size + inState('paused').length > 0
export const waitingState = () => (isHeld ? 'paused' : 'waiting')
export const countFailed = () => inState('failed').length

export function pauseAll() {
  hold(true)
  const active = [...busy]
  active.forEach(stop)
  note(active)
  changed()
}

export function resumeAll() {
  hold(false)
  const paused = inState('paused')
  for (const upload of paused.filter(({ id }) => id)) resume(upload)
  bringBack(paused.filter(({ id }) => !id))
}

export function retryAll() {
  bringBack(inState('failed'))
}

// Put uploads in front of those that wait.
function bringBack(uploads) {
  const after = [...waiting.values()]
  waiting.clear()
  for (const upload of [...uploads, ...after]) become(upload, 'waiting')
  note(uploads)
  next()
}

function hold(isWanted) {
  isHeld = isWanted
  noteHeld(isHeld)
}

// Cancelled uploads are paused and can be brought back, until they are discarded.
export function cancel(uploads) {
  finishCancel()
  for (const upload of uploads) {
    if (upload.state === 'active' && upload.id) uppy.pauseResume(upload.id)
    cancelled.set(upload, upload.state)
    leave(upload)
    upload.state = 'cancelled'
    count(upload, -1)
  }
  next()
}

export function undoCancel() {
  const states = [...cancelled]
  cancelled = new Map()
  for (const [upload, state] of states) enter(upload, state === 'lost' ? 'waiting' : state)
  for (const [upload, state] of states) if (state === 'active') resume(upload)
  bringBack(states.filter(([, state]) => ['waiting', 'lost'].includes(state)).map(([one]) => one))
}

export function finishCancel() {
  const uploads = [...cancelled.keys()]
  cancelled = new Map()
  forget(uploads)
  for (const upload of uploads) {
    if (upload.id) uppy.removeFile(upload.id) // its uploader deletes what it has sent
    else discard(upload).catch(() => {})
    byFile.delete(upload.id)
  }
  changed()
}

// The number of uploads that can be brought back.
export const countCancelled = () => cancelled.size

// How far all uploads have come. Of small files, the number counts, not the bytes.
export function progress() {
  let sent = done.bytes
  for (const upload of others.values()) sent += upload.sent
  const all = total.bytes + total.files * FILE_COST
  const cost = sent + done.files * FILE_COST
  return { files: total.files, done: done.files, cost, left: all - cost, share: cost / (all || 1) }
}

export function isAway(upload) {
  const isSilent = upload.state === 'active' && performance.now() - upload.heard > SILENCE
  return isSilent || upload.state === 'lost'
}

export const isServerAway = () => busy.size > 0 && [...busy].every(isAway)

export async function keepThroughReloads() {
  const stored = await openStore().catch(() => null) // a browser may forbid it
  if (!stored) return
  keep([...others.values(), ...waiting.values()])
  const isKnown = ({ key }) => others.has(key) || waiting.has(key)
  const found = stored.uploads.filter((upload) => !isKnown(upload))
  if (stored.isHeld && found.length > 0) hold(true)
  for (const upload of found) {
    upload.delay = 0.5
    enter(upload, !upload.data ? 'missing' : upload.isPaused ? 'paused' : 'waiting')
  }
  next()
}
