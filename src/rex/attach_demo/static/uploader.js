// Uppy, configured to upload directly to the S3 server, or to the application by tus.

import { SERVER, SERVICE, send } from './service.js'
import { noteRequest } from './traffic.js'
import { AwsS3, Tus, Uppy } from './uppy.js'

const MULTIPART = 16 * 1024 * 1024 // larger files use multipart uploads, which can be resumed

export const uppy = new Uppy({ id: 'attachments' })

if (SERVER) {
  uppy.use(AwsS3, {
    signRequest,
    // The application chooses the key; this value carries the file name and the upload's id.
    generateObjectKey: (file) => `${file.id}/${file.name}`,
    shouldUseMultipart: (file) => file.size > MULTIPART,
    limit: 1000, // effectively none: the queue limits concurrency
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

// Delete what the server has of an upload that no uploader works on. If this fails, it expires.
export async function discard({ tus, s3Multipart }) {
  if (tus?.uploadUrl) {
    await fetch(tus.uploadUrl, { method: 'DELETE', headers: { 'Tus-Resumable': '1.0.0' } })
  }
  if (s3Multipart) {
    const { url, headers } = await signRequest({ method: 'DELETE', ...s3Multipart })
    await fetch(url, { method: 'DELETE', headers })
  }
}

// tus has no type of its own for a lost connection.
export function wasLost(error) {
  const isUnanswered = error.originalRequest && !error.originalResponse
  return error.isLost || error.isNetworkError || error.code === 'NETWORK' || isUnanswered
}

// The key of a file that is stored although its upload failed: Uppy repeats a request whose
// response was lost, and a link works once. The claim finds out whether the file is there.
export function keyOfStored({ id }, { serviceCode }) {
  if (serviceCode !== 'PreconditionFailed') return null
  return [...idsByKey].findLast(([, each]) => each === id)?.[0]
}
