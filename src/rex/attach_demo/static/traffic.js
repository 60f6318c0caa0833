// For developers: the requests of each upload, and the traffic of the application.

import { byId, element } from './elements.js'
import { size } from './format.js'
import { nameOf } from './names.js'

const UPLOADS = 50 // uploads listed; older ones count only in the totals
const REQUESTS = 40 // requests listed per upload

const { server } = document.body.dataset
byId('route').textContent = server
  ? `Uploads go directly from your browser to the S3 server at ${new URL(server).host}.`
  : 'Uploads go to this application, which stores them in a directory.'

const uploads = new Map()
const seen = { asked: 0, askedBytes: 0, bytes: 0 }

// Count a JSON request to the application.
export function noteAsked(sent, received) {
  seen.asked += 1
  seen.askedBytes += (sent?.length ?? 0) + received.length
  showText()
}

// List a request of an upload: with a link, or by tus.
export function noteRequest({ id, name }, request) {
  if (!uploads.has(id)) begin(id, name)
  const upload = uploads.get(id)
  upload.requests += 1
  upload.hosts.add(new URL(request.url, location.href).host)
  upload.where.textContent = `to ${[...upload.hosts].join(', ')}`
  if (upload.requests <= REQUESTS) upload.list.append(details(request))
  else upload.more.textContent = `and ${upload.requests - REQUESTS} more`
}

export function noteStored(file) {
  seen.bytes += file.size
  showText()
}

function begin(id, name) {
  const where = element('span', { className: 'detail' })
  const list = element('div', { className: 'wide' })
  const more = element('span', { className: 'detail wide' })
  const row = element('li', {}, nameOf(name, { lines: 2 }), where, list, more)
  uploads.set(id, { requests: 0, hosts: new Set(), row, where, list, more })
  byId('traffic-uploads').prepend(row)
  if (uploads.size <= UPLOADS) return
  const [[oldest, { row: last }]] = uploads
  last.remove()
  uploads.delete(oldest)
}

function showText() {
  byId('traffic-text').textContent = server
    ? `${size(seen.bytes)} went directly from this browser to ${server}. The application only ` +
      `answered ${seen.asked} requests for links and lists, ${size(seen.askedBytes)} of JSON.`
    : `${size(seen.bytes)} went to the application, which stores them in a directory. ` +
      'With an S3 server, this page uploads directly to that server: make serve S3=1.'
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
