import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import Tus from '@uppy/tus'
import { upload } from '../upload.js'

function signer(service) {
  return async (request) => {
    const response = await fetch(`${service}/sign`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(request),
    })
    if (!response.ok) throw new Error(await response.text())
    return response.json()
  }
}

const clients = {
  companion: (service) => [AwsS3, { companionEndpoint: service }],
  sign: (service) => [AwsS3, { signRequest: signer(service), generateObjectKey: ({ name }) => name }],
  tus: (service) => [Tus, { endpoint: `${service}/tus/` }],
}

globalThis.begin = ({ client, service, options, ...file }) => {
  const [plugin, own] = clients[client](service)
  upload(new Uppy().use(plugin, { ...own, ...options }), file)
}
