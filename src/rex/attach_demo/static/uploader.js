// Uppy, configured to upload directly to the S3 server, or to the application by tus.
// This module schedules uploads and retries.

import { SERVER, SERVICE, LIMIT, send } from './service.js'
import { noteRequest, noteStored } from './traffic.js'
import { AwsS3, GoldenRetriever, Tus, Uppy } from './uppy.js'

const MIB = 1024 * 1024
const GIB = 1024 * MIB
const MULTIPART = 16 * MIB // larger files use multipart uploads, which can be resumed
const AT_ONCE = 4
const LONGEST_PAUSE = 30 // maximum seconds before the next retry after a lost connection

export const uppy = new Uppy({ id: 'attachments', restrictions: { maxFileSize: LIMIT } })

if (SERVER) {
  uppy.use(AwsS3, {
    signRequest,
    // The application chooses the key; this value carries the file name and the upload's id.
    generateObjectKey: (file) => `${file.id}/${file.name}`,
    shouldUseMultipart: (file) => file.size > MULTIPART,
    limit: 1000, // effectively none: `next` limits concurrency
  })
} else {
  uppy.use(Tus, {
    endpoint: `${SERVICE}/tus/`,
    allowedMetaFields: ['name', 'type'],
    limit: 1000,
    removeFingerprintOnSuccess: true,
    onBeforeRequest(request, file) {
      noteRequest(file, { method: request.getMethod(), url: request.getURL() })
    },
  })
}

// Let the application sign a request for the browser to send.
async function signRequest(request) {
  const link = await send(`${SERVICE}/sign`, request)
  if (!request.uploadId) idsByKey.set(link.key, request.key.slice(0, request.key.lastIndexOf('/')))
  const file = uppy.getFile(idsByKey.get(link.key)) ?? uppy.getFiles().find(goesTo(link.key))
  const { partNumber: part } = request
  if (file) noteRequest(file, { ...link, part, method: link.fields ? 'POST' : request.method })
  return link
}

const idsByKey = new Map()
const goesTo = (key) => (file) => file.s3Multipart?.key === key

// A few files upload at a time; each file in `begun` has an uploader in Uppy, paused or not.

const begun = new Set()

export const isWaiting = (file) =>
  !begun.has(file.id) && !file.isPaused && !file.isGhost && !file.error

function next() {
  const files = uppy.getFiles()
  const busy = files.filter((file) => begun.has(file.id) && !file.isPaused).length
  for (const { id } of files.filter(isWaiting).slice(0, Math.max(0, AT_ONCE - busy))) {
    begun.add(id)
    uppy.retryUpload(id).catch(() => {}) // Uppy emits errors as events
  }
}

export function pause(id) {
  const file = uppy.getFile(id)
  if (!file || file.isPaused || file.error || file.isGhost) return
  if (begun.has(id)) uppy.pauseResume(id)
  else uppy.setFileState(id, { isPaused: true })
  next()
}

export function resume(id) {
  if (begun.has(id)) uppy.pauseResume(id)
  else uppy.setFileState(id, { isPaused: false })
  next()
}

export function retry(id) {
  clearTimeout(pauses.get(id)?.timer)
  if (!uppy.getFile(id)?.error) return
  uppy.setFileState(id, { error: null })
  next()
}

// Cancel an upload and discard the bytes already sent.
export function cancel(id) {
  const file = uppy.getFile(id)
  const hasUploader = begun.has(id)
  uppy.removeFile(id) // an uploader then deletes what it has sent
  if (!hasUploader) discard(file).catch(() => {}) // otherwise the partial upload expires
}

async function discard({ tus, s3Multipart }) {
  if (tus?.uploadUrl) {
    await fetch(tus.uploadUrl, { method: 'DELETE', headers: { 'Tus-Resumable': '1.0.0' } })
  }
  if (s3Multipart) {
    const { url, headers } = await signRequest({ method: 'DELETE', ...s3Multipart })
    await fetch(url, { method: 'DELETE', headers })
  }
}

uppy.on('files-added', next)
uppy.on('file-removed', ({ id }) => {
  clearTimeout(pauses.get(id)?.timer)
  pauses.delete(id)
  begun.delete(id)
  next()
})
uppy.on('upload-success', (file) => {
  begun.delete(file.id)
  noteStored(file)
  rememberStored(file.id)
  queueMicrotask(() => uppy.removeFile(file.id)) // the file is in the storage now
})

// Uploads that fail by a lost connection are retried automatically, with growing pauses.

const pauses = new Map()

export const isLost = (file) => Boolean(file.error) && pauses.get(file.id)?.isLost === true

uppy.on('upload-error', (file, error) => {
  begun.delete(file.id)
  if (error.serviceCode === 'NoSuchUpload') uppy.setFileState(file.id, { s3Multipart: undefined })
  const isLost = wasLost(error)
  const seconds = isLost ? Math.min(LONGEST_PAUSE, (pauses.get(file.id)?.seconds ?? 0.5) * 2) : 0
  const timer = isLost ? setTimeout(() => retry(file.id), seconds * 1000) : 0
  pauses.set(file.id, { isLost, seconds, timer })
  next()
})
uppy.on('upload-progress', (file) => pauses.delete(file.id))
addEventListener('online', () => uppy.getFiles().filter(isLost).forEach(({ id }) => retry(id)))

function wasLost(error) {
  const isUnanswered = error.originalRequest && !error.originalResponse // an error of tus
  return error.isLost || error.isNetworkError || error.code === 'NETWORK' || isUnanswered
}

// Unfinished uploads survive a reload: the browser stores their bytes. Only one tab does so.

const STORED = 'stored'
const HANDOVER = 1000 // milliseconds for a page that is reloaded to release the lock

const retriever = { indexedDB: { maxFileSize: 2 * GIB, maxTotalSize: 4 * GIB } }

export function keepThroughReloads() {
  uppy.on('restored', goOn)
  if (!navigator.locks) {
    uppy.use(GoldenRetriever, retriever)
    return
  }
  const options = { signal: AbortSignal.timeout(HANDOVER) }
  const hold = () => {
    uppy.use(GoldenRetriever, retriever)
    return new Promise(() => {})
  }
  navigator.locks.request('attachments', options, hold).catch(() => {}) // another tab has the lock
}

function goOn() {
  uppy.setState({ recoveredState: null, currentUploads: {} })
  const stored = JSON.parse(sessionStorage.getItem(STORED) ?? '[]')
  for (const { id, progress } of uppy.getFiles()) {
    if (progress.uploadComplete || stored.includes(id)) uppy.removeFile(id)
  }
  next()
}

// Golden Retriever saves its state with a delay, so the last success may be missing after a reload.
function rememberStored(id) {
  const stored = JSON.parse(sessionStorage.getItem(STORED) ?? '[]')
  sessionStorage.setItem(STORED, JSON.stringify([...stored.slice(-20), id]))
}
