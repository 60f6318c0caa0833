// What the pages of Uppy 6 share: the ways in which it uploads, by name.

import { upload } from './upload.js'

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

// Gives the page a function to begin an upload, with the packages that it has.
export function page({ Uppy, AwsS3, Tus }) {
  const clients = {
    companion: (service) => [AwsS3, { companionEndpoint: service }],
    sign: (service) => [
      AwsS3,
      { signRequest: signer(service), generateObjectKey: ({ name }) => name },
    ],
    tus: (service) => [Tus, { endpoint: `${service}/tus/` }],
  }
  globalThis.begin = ({ client, service, options, ...file }) => {
    const [plugin, own] = clients[client](service)
    upload(new Uppy().use(plugin, { ...own, ...options }), file)
  }
}
