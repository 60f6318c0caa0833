// A short message at the bottom of the page, with an action that it offers for some seconds.

import { byId } from './elements.js'

const SECONDS = 6

let current = null

// Show a message. `onEnd` is called once, with whether the action was chosen.
export function toast(content, { action = '', onEnd = () => {} } = {}) {
  endToast()
  const box = byId('toast')
  box.querySelector('p').replaceChildren(...content)
  const button = byId('toast-action')
  button.textContent = action
  button.hidden = !action
  box.hidden = false
  current = { onEnd, timer: 0 }
  wait()
}

export const endToast = () => end(false)

export function setUpToast() {
  const box = byId('toast')
  byId('toast-action').addEventListener('click', () => end(true))
  byId('toast-close').addEventListener('click', endToast)
  // It does not go away under the pointer or the focus.
  for (const type of ['pointerenter', 'focusin']) box.addEventListener(type, stay)
  for (const type of ['pointerleave', 'focusout']) box.addEventListener(type, wait)
  // A page that is hidden may never be shown again.
  document.addEventListener('visibilitychange', () => document.hidden && endToast())
}

function wait() {
  if (!current) return
  clearTimeout(current.timer)
  current.timer = setTimeout(endToast, SECONDS * 1000)
}

function stay() {
  clearTimeout(current?.timer)
}

function end(isChosen) {
  if (!current) return
  const { onEnd, timer } = current
  current = null
  clearTimeout(timer)
  byId('toast').hidden = true
  onEnd(isChosen)
}
