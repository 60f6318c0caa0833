import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import Tus from '@uppy/tus'
import { page } from '../clients.js'

page({ Uppy, AwsS3, Tus })
