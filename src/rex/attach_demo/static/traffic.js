// For the developer who looks: which requests carried each upload, and what the application saw.

import { byId, element } from './elements.js'
import { size } from './format.js'

const UPLOADS = 50 // of those before only the bytes are told
const REQUESTS = 40 // of one upload that are listed

const uploads = new Map()
const seen = { asked: 0, askedBytes: 0, bytes: 0 }

// A question to the application: some lines of JSON there and back.
export function noteAsked(sent, received) {
  seen.asked += 1
  seen.askedBytes += (sent?.length ?? 0) + received.length
  showText()
}

// A request that carries an upload: a link, or what tus sends.
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
  const row = element('li', {}, element('span', { className: 'name' }, name), where, list, more)
  uploads.set(id, { requests: 0, hosts: new Set(), row, where, list, more })
  byId('traffic-uploads').prepend(row)
  byId('traffic').hidden = false
  if (uploads.size <= UPLOADS) return
  const [[oldest, { row: last }]] = uploads
  last.remove()
  uploads.delete(oldest)
}

function showText() {
  const { server } = document.body.dataset
  byId('traffic-text').textContent = server
    ? `${size(seen.bytes)} went from this browser straight to ${server}. The application saw none ` +
      `of them: it was asked ${seen.asked} times, for links and lists, ${size(seen.askedBytes)} of ` +
      'JSON in all.'
    : `${size(seen.bytes)} went to the application, which keeps them in a directory. ` +
      'On an S3 server the same page sends them past it: make serve S3=1.'
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
