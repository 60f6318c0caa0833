// Uploads a file with tus-js-client and prints the address of the upload.
// It takes one argument, JSON: the file, and options of tus-js-client.

import { createReadStream, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename } from 'node:path'

const require = createRequire(new URL('../../../browser/uppy6/package.json', import.meta.url))
const { Upload } = require('tus-js-client')

const { file, options } = JSON.parse(process.argv[2])

// tus-js-client cannot cut an empty stream into parts.
const input = statSync(file).size ? createReadStream(file) : Buffer.alloc(0)

const upload = new Upload(input, {
  metadata: { filename: basename(file) },
  retryDelays: [], // what fails is to be seen
  onError(error) {
    throw error
  },
  onSuccess() {
    process.stdout.write(upload.url)
  },
  ...options,
})
upload.start()
