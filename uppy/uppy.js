// What the page of the demo takes from Uppy, as one script.

export { default as AwsS3 } from '@uppy/aws-s3'
export { default as Uppy } from '@uppy/core'
export { getDroppedFiles } from '@uppy/core/utils'
export { default as Tus } from '@uppy/tus'
