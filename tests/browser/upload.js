// What the pages share: a file made in the page, and what a test waits for.

const MIB = 1024 * 1024

// A MiB of noise again and again, each with its number in front; test_uppy.py makes the same.
function content(size) {
  const noise = Uint8Array.from({ length: MIB }, (_, place) => Math.imul(place, 2654435761) >>> 24)
  const pieces = []
  for (let number = 0; number * MIB < size; number += 1) {
    pieces.push(new Uint32Array([number]), noise.subarray(4))
  }
  return new Blob(pieces).slice(0, size)
}

// `at` names what is to be done in the middle of the upload: pauseAll or cancelAll.
export function upload(uppy, { name, size, at }) {
  uppy.addFile({ name, type: 'application/x-noise', data: content(size) })
  const page = globalThis
  page.uppy = uppy
  page.reached = false
  page.result = null
  uppy.on('upload-progress', (file, progress) => {
    if (at && !page.reached && progress.bytesUploaded > size / 3) {
      page.reached = true
      uppy[at]()
    }
  })
  uppy.upload().then(
    (result) => {
      page.result = {
        successful: result?.successful.map((file) => file.uploadURL ?? null) ?? [],
        failed: result?.failed.map((file) => String(file.error)) ?? [],
      }
    },
    (error) => {
      page.result = { successful: [], failed: [String(error)] }
    },
  )
}
