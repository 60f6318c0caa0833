// What the application is asked, and what it says when something is wrong.

import { noteAsked } from './traffic.js'

const { service, server, maxSize } = document.body.dataset

export const SERVICE = service
// The origin of the S3 server, or nothing where the application itself keeps the files.
export const SERVER = server
// The largest size of a file in bytes, if there is one.
export const LIMIT = maxSize ? Number(maxSize) : null

export const urlOf = (handle) => SERVICE + handle.split('/').map(encodeURIComponent).join('/')

// The handle of what was uploaded: the end of its key on S3, or of its address.
export function handleOf({ body, uploadURL }) {
  const path = body?.key ?? decodeURIComponent(new URL(uploadURL, location.href).pathname)
  return `/${path.split('/').slice(-5).join('/')}`
}

// Ask the application; an error is its own words (RFC 9457).
export async function ask(url, options = {}) {
  let response
  try {
    response = await fetch(url, options)
  } catch {
    throw Object.assign(new Error('The application cannot be reached.'), { isLost: true })
  }
  const text = await response.text()
  noteAsked(options.body, text)
  if (response.ok) return text ? JSON.parse(text) : null
  let detail = response.statusText
  try {
    detail = JSON.parse(text).detail
  } catch {
    // It is not from the application, but from something before it.
  }
  throw new Error(detail)
}

export function send(url, content) {
  const headers = { 'Content-Type': 'application/json' }
  return ask(url, { method: 'POST', headers, body: JSON.stringify(content) })
}
