import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import { upload } from '../upload.js'

globalThis.begin = ({ service, options, ...file }) => {
  upload(new Uppy().use(AwsS3, { endpoint: service, ...options }), file)
}
