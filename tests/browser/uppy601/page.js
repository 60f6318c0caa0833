import { AwsS3, Tus, Uppy } from 'uppy'
import { page } from '../clients.js'

page({ Uppy, AwsS3, Tus })
