// For the developer who looks: which requests carried each upload, and what the application saw.

import { byId, element } from './elements.js'
import { size } from './format.js'

const SHOWN = 40

const uploads = new Map()
let asked = 0
let askedBytes = 0

// A question to the application: some lines of JSON there and back.
export function noteAsked(sent, received) {
  asked += 1
  askedBytes += (sent?.length ?? 0) + received.length
  show()
}

// A request that carries an upload: a link, or what tus sends.
export function noteRequest(file, request) {
  const upload = uploads.get(file.id) ?? { file, requests: [], bytes: 0 }
  uploads.delete(file.id)
  uploads.set(file.id, { ...upload, requests: [...upload.requests, request] })
  show()
}

export function noteStored(file) {
  const upload = uploads.get(file.id)
  if (upload) upload.bytes = file.size
  show()
}

function show() {
  const all = [...uploads.values()]
  byId('traffic').hidden = all.length === 0
  const { server } = document.body.dataset
  const bytes = all.reduce((sum, upload) => sum + upload.bytes, 0)
  byId('traffic-text').textContent = server
    ? `${size(bytes)} went from this browser straight to ${server}. The application saw none of ` +
      `them: it was asked ${asked} times, for links and lists, ${size(askedBytes)} of JSON in all.`
    : `${size(bytes)} went to the application, which keeps them in a directory. ` +
      'On an S3 server the same page sends them past it: make serve S3=1.'
  byId('traffic-uploads').replaceChildren(...all.reverse().map(row))
}

function row({ file, requests }) {
  const hosts = new Set(requests.map(({ url }) => new URL(url, location.href).host))
  return element(
    'li',
    {},
    element('span', { className: 'name' }, file.name),
    element('span', { className: 'detail' }, `to ${[...hosts].join(', ')}`),
    element('div', { className: 'wide' }, ...requests.slice(0, SHOWN).map(details)),
    ...(requests.length > SHOWN ? [`and ${requests.length - SHOWN} more`] : []),
  )
}

function details({ method, url, part, headers = {}, fields = {} }) {
  const address = new URL(url, location.href)
  const shown = address.origin + decodeURI(address.pathname)
  const rows = [...address.searchParams, ...Object.entries(headers), ...Object.entries(fields)]
  return element(
    'details',
    { className: 'request' },
    element('summary', {}, `${method} ${part ? `part ${part}: ` : ''}${shown}`),
    element(
      'dl',
      {},
      ...rows.flatMap(([name, value]) => [
        element('dt', {}, name),
        element('dd', {}, name === 'policy' ? policy(value) : value),
      ]),
    ),
  )
}

function policy(encoded) {
  return JSON.stringify(JSON.parse(atob(encoded)), null, 2)
}
