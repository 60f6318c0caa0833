// @tus/server on a directory (DIRECTORY) or, with @tus/s3-store, on S3 (ENDPOINT and keys).
import { mkdirSync } from 'node:fs'
import { FileStore } from '@tus/file-store'
import { S3Store } from '@tus/s3-store'
import { Server } from '@tus/server'

const { DIRECTORY, ENDPOINT, BUCKET, REGION, ACCESS_KEY, SECRET_KEY, PORT } = process.env

function makeStore() {
  if (DIRECTORY) {
    mkdirSync(DIRECTORY, { recursive: true })
    return new FileStore({ directory: DIRECTORY })
  }
  return new S3Store({
    partSize: 8 * 1024 * 1024,
    s3ClientConfig: {
      bucket: BUCKET,
      endpoint: ENDPOINT,
      region: REGION,
      forcePathStyle: true,
      credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
    },
  })
}

new Server({ path: '/files', datastore: makeStore() }).listen({ host: '127.0.0.1', port: Number(PORT) })
