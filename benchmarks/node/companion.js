// @uppy/companion, which signs uploads to an S3 server for Uppy.
import * as companion from '@uppy/companion'
import express from 'express'

const { ENDPOINT, BUCKET, REGION, ACCESS_KEY, SECRET_KEY, PORT, DIRECTORY } = process.env

const { app } = companion.app({
  filePath: DIRECTORY,
  secret: 'a secret that is long enough for companion',
  server: { host: `127.0.0.1:${PORT}`, protocol: 'http' },
  corsOrigins: true,
  uploadUrls: ['http://127.0.0.1:9/'],
  s3: {
    key: ACCESS_KEY,
    secret: SECRET_KEY,
    bucket: BUCKET,
    endpoint: ENDPOINT,
    region: REGION,
    forcePathStyle: true,
    getKey: ({ filename }) => `${crypto.randomUUID()}/${filename}`,
  },
})
const server = express()
server.use(express.json())
server.use(app)
server.listen(Number(PORT), '127.0.0.1')
