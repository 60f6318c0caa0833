// Requests to the application, and its errors.

import { noteAsked } from './traffic.js'

const { service, server, maxSize } = document.body.dataset

export const SERVICE = service
// The origin of the S3 server; empty if the application stores the files.
export const SERVER = server
// Maximum size of a file in bytes, or null.
export const LIMIT = maxSize ? Number(maxSize) : null

export const urlOf = (handle) => SERVICE + handle.split('/').map(encodeURIComponent).join('/')

// The handle of an uploaded file: the end of its S3 key or of its upload URL.
export function handleOf({ body, uploadURL }) {
  const path = body?.key ?? decodeURIComponent(new URL(uploadURL, location.href).pathname)
  return `/${path.split('/').slice(-5).join('/')}`
}

// Send a request to the application; an error has the detail of its problem document (RFC 9457).
export async function ask(url, options = {}) {
  let response
  try {
    response = await fetch(url, options)
  } catch {
    throw Object.assign(new Error('Cannot reach the application.'), { isLost: true })
  }
  const text = await response.text()
  noteAsked(options.body, text)
  if (response.ok) return text ? JSON.parse(text) : null
  let detail = response.statusText
  try {
    detail = JSON.parse(text).detail
  } catch {
    // The response is from a proxy in front of the application.
  }
  throw new Error(detail)
}

export function send(url, content) {
  const headers = { 'Content-Type': 'application/json' }
  return ask(url, { method: 'POST', headers, body: JSON.stringify(content) })
}
