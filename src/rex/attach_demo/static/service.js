// Requests to the application, and its errors.

import { noteAsked } from './traffic.js'

const { service, server, maxSize } = document.body.dataset

// Its path; the attribute may be relative to the page.
export const SERVICE = new URL(`${service}/`, location.href).pathname.slice(0, -1)
// The origin of the S3 server; empty if the application stores the files.
export const SERVER = server
// Maximum size of a file in bytes, or null.
export const LIMIT = maxSize ? Number(maxSize) : null

export const GONE = 'This file has been removed meanwhile.'

export const urlOf = (handle) => SERVICE + handle.split('/').map(encodeURIComponent).join('/')

// The handle of an uploaded file: the end of its S3 key or of its upload URL.
export function handleOf({ body, uploadURL }) {
  const path = body?.key ?? decodeURIComponent(new URL(uploadURL, location.href).pathname)
  return `/${path.split('/').slice(-5).join('/')}`
}

// Receipts of uploads by links, which prove to the application that an upload is ours.
const receipts = new Map()

// What the application takes as a claim of an upload: the receipt, or else the handle.
export function claimOf(handle) {
  const receipt = receipts.get(handle)
  receipts.delete(handle)
  return receipt ?? handle
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
  const error = new Error(response.statusText || `Error ${response.status}`)
  try {
    error.message = withoutHandle(JSON.parse(text).detail)
  } catch {
    // The response is from a proxy in front of the application, or has no body.
  }
  error.status = response.status
  error.isGone = response.status === 404 && !options.body
  if (error.isGone) error.message = GONE
  throw error
}

// A detail ends with the handle that it is about, which says nothing to people.
const withoutHandle = (detail) => detail.replace(/:? *\/\d{4}\/\d\d\/\d\d\/[0-9a-f-]{36}\/.*/s, '.')

export async function send(url, content, method = 'POST') {
  const headers = { 'Content-Type': 'application/json' }
  const body = JSON.stringify(content)
  // A removal goes on when the page is closed.
  const received = await ask(url, { method, headers, body, keepalive: method === 'DELETE' })
  if (received?.receipt) receipts.set(received.handle, received.receipt)
  return received
}
