// Claims: the application lists an upload when this page presents its receipt.
// Claims without a response are kept in the browser and sent again, also by a later page.

import { claimOf, send } from './service.js'

const AT_ONCE = 100 // claims in a request
const GATHER = 1000 // milliseconds between two requests
const LONGEST_PAUSE = 30_000 // milliseconds before a claim is sent again
const KEY = 'claim '

const waiting = new Map() // claims by handle
let listener
let pause = 0
let sent = -GATHER
let timer = 0
let isSending = false

// Call `onChange` with the handles listed, the reasons of refusals, and the number still waiting.
export function sendClaims(onChange) {
  listener = onChange
  try {
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith(KEY)) waiting.set(key.slice(KEY.length), localStorage.getItem(key))
    }
  } catch {
    // This browser keeps nothing.
  }
  addEventListener('online', flush)
  flush()
}

export function claim(handle) {
  waiting.set(handle, claimOf(handle))
  try {
    localStorage.setItem(KEY + handle, waiting.get(handle))
  } catch {
    // As above: the claim is lost if this page is closed.
  }
  soon()
}

// Send at once, but not more often than once a second.
function soon() {
  timer ||= setTimeout(flush, Math.max(0, sent + GATHER - performance.now()))
}

async function flush() {
  clearTimeout(timer)
  timer = 0
  if (isSending || waiting.size === 0) return
  isSending = true
  sent = performance.now()
  const batch = [...waiting].slice(0, AT_ONCE)
  try {
    const { refused } = await send('files', { claims: batch.map(([, text]) => text) })
    settle(batch, refused)
  } catch (error) {
    if (error.isLost || error.status >= 500) again()
    else settle(batch, batch.map(([, text]) => ({ claim: text, detail: error.message })))
  }
  isSending = false
  if (waiting.size > 0) soon()
}

function settle(batch, refused) {
  const isLater = ({ kind }) => ['busy', 'unavailable', 'internal'].includes(kind)
  const later = new Set(refused.filter(isLater).map(({ claim: text }) => text))
  const final = refused.filter((refusal) => !isLater(refusal))
  const failed = new Set(refused.map(({ claim: text }) => text))
  for (const [handle, text] of batch) if (!later.has(text)) forget(handle)
  if (later.size > 0) again()
  else pause = 0
  const listed = batch.filter(([, text]) => !failed.has(text)).map(([handle]) => handle)
  listener({ listed, reasons: final.map(({ detail }) => detail), waiting: waiting.size })
}

function again() {
  pause = Math.min(LONGEST_PAUSE, Math.max(500, pause * 2))
  clearTimeout(timer)
  timer = setTimeout(flush, pause)
  listener({ listed: [], reasons: [], waiting: waiting.size })
}

function forget(handle) {
  waiting.delete(handle)
  try {
    localStorage.removeItem(KEY + handle)
  } catch {
    // It was not kept.
  }
}
