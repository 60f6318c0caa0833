// Uppy, set up for where the files are kept: straight to the S3 server, or to the application by tus.

import { noteRequest, noteStored } from './traffic.js'
import { MAX_SIZE, SERVER, SERVICE, send } from './service.js'
import { AwsS3, GoldenRetriever, Tus, Uppy } from './uppy.js'

const MIB = 1024 * 1024
const GIB = 1024 * MIB
// Above this, a file goes in parts, and can be taken up where it was.
const MULTIPART = 16 * MIB

export const uppy = new Uppy({
  id: 'attachments',
  autoProceed: true,
  restrictions: { maxFileSize: MAX_SIZE },
})

// What was on its way survives a reload: its bytes are kept by the browser meanwhile.
uppy.use(GoldenRetriever, { indexedDB: { maxFileSize: 2 * GIB, maxTotalSize: 4 * GIB } })

if (SERVER) {
  uppy.use(AwsS3, {
    signRequest,
    // The application chooses the key; this tells it the name, and us the upload.
    generateObjectKey: (file) => `${file.id}/${file.name}`,
    shouldUseMultipart: (file) => file.size > MULTIPART,
    limit: 4,
  })
} else {
  uppy.use(Tus, {
    endpoint: `${SERVICE}/tus/`,
    allowedMetaFields: ['name', 'type'],
    limit: 4,
    retryDelays: [200, 1000, 3000, 5000, 10000],
    removeFingerprintOnSuccess: true,
    onBeforeRequest(request, file) {
      noteRequest(file, { method: request.getMethod(), url: request.getURL() })
    },
  })
}

// Have the application sign one request, which the browser then makes itself.
async function signRequest(request) {
  const link = await send(`${SERVICE}/sign`, request)
  if (!request.uploadId) uploads.set(link.key, request.key.slice(0, request.key.lastIndexOf('/')))
  const file = uppy.getFile(uploads.get(link.key)) ?? uppy.getFiles().find(goesTo(link.key))
  const { partNumber: part } = request
  if (file) noteRequest(file, { ...link, part, method: link.fields ? 'POST' : request.method })
  return link
}

const uploads = new Map() // the ids of the files, by the keys that they got
const goesTo = (key) => (file) => file.s3Multipart?.key === key

// What a reload interrupted goes on by itself, once the bytes of all of it are there.
function goOn() {
  const isInterrupted = uppy.getState().recoveredState !== null
  if (isInterrupted && !uppy.getFiles().some((file) => file.isGhost)) uppy.emit('restore-confirmed')
}

uppy.on('restored', goOn)
uppy.on('files-added', goOn)
uppy.on('file-removed', goOn)
uppy.on('upload-success', noteStored)

// What failed for want of a connection is tried again when there is one.
addEventListener('online', () => {
  for (const file of uppy.getFiles()) if (file.error) uppy.retryUpload(file.id)
})
