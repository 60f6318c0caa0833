// The row of an upload: its name, its progress, and what can be done with it.

import { element, icon } from './elements.js'
import { duration, size } from './format.js'
import { nameOf } from './names.js'
import { SMALL, isAway, pause, resume, retry, waitingState } from './queue.js'

const MEMORY = 3000 // milliseconds over which the speed is averaged
const ICONS = {
  Pause: 'M9 6v12M15 6v12',
  Resume: 'M8 6l10 6-10 6z',
  Retry: 'M18.5 9A7 7 0 1 0 19 13M19 4.5V9h-4.5',
  Cancel: 'M7 7l10 10M17 7L7 17',
}

export function makeRow(upload, cancel) {
  const folder = upload.path.slice(0, upload.path.lastIndexOf('/') + 1)
  const path = element('bdi', { className: 'path', title: folder, hidden: !folder }, folder)
  const state = element('span')
  const bar = element('progress', { max: 1, value: 0, ariaLabel: upload.name })
  const button = (label, act) => {
    const properties = { type: 'button', className: 'icon', title: label }
    const ariaLabel = `${label} ${upload.name}`
    const onclick = () => {
      act(upload)
      if (made.hidden) made.parentElement.querySelector('button:not([hidden])')?.focus()
    }
    const made = element('button', { ...properties, ariaLabel, onclick }, icon(ICONS[label]))
    return made
  }
  const [pausing, resuming] = [button('Pause', pause), button('Resume', resume)]
  const [retrying, cancelling] = [button('Retry', retry), button('Cancel', cancel)]
  const row = element(
    'li',
    {},
    nameOf(upload.name, { lines: 2 }),
    bar,
    element('p', { className: 'detail' }, path, state),
    element('div', { className: 'actions' }, pausing, resuming, retrying, cancelling),
  )
  const speedOf = meter()
  row.show = () => {
    const isHeld = waitingState() === 'paused'
    const shown = upload.state === 'waiting' && isHeld ? 'paused' : upload.state
    row.className = isAway(upload) ? 'away' : upload.state
    // One line, so that a small file takes no more room, and the page stays still.
    const isSlim = upload.size <= SMALL && upload.state !== 'failed'
    row.classList.toggle('slim', isSlim || upload.state === 'waiting')
    const speed = upload.state === 'active' ? speedOf(upload.sent) : 0
    change(state, stateOf(upload, speed))
    bar.hidden = isSlim || (upload.sent === 0 && upload.state !== 'active')
    bar.value = upload.size ? upload.sent / upload.size : 0
    pausing.hidden = shown !== 'active' && shown !== 'waiting'
    resuming.hidden = shown !== 'paused'
    retrying.hidden = shown !== 'failed' && shown !== 'lost'
  }
  return row
}

// The browser computes the layout again even if the text stays the same.
export function change(place, text) {
  if (place.textContent !== text) place.textContent = text
}

// Return a function that computes the speed per second over the last few seconds.
export function meter() {
  let samples = []
  return (done) => {
    const now = performance.now()
    samples = [...samples.filter(({ time }) => now - time < MEMORY), { time: now, done }]
    const [first] = samples
    return now === first.time ? 0 : Math.max(0, ((done - first.done) * 1000) / (now - first.time))
  }
}

export function stateOf(upload, speed) {
  const { state, sent } = upload
  const part = sent > 0 ? `${size(sent)} of ${size(upload.size)}` : size(upload.size)
  if (isAway(upload)) return `Waiting for the server … · ${part}`
  if (state === 'failed') return `Failed: ${reason(upload.error)}`
  if (state === 'missing') return `Choose this file again to resume · ${part}`
  if (state === 'paused') return `${part} · paused`
  if (state === 'waiting') return `${size(upload.size)} · ${waitingState()}`
  if (upload.size > 0 && sent >= upload.size) return `${size(upload.size)} · storing …`
  if (speed < 1) return `${part} · uploading`
  return `${part} · ${size(speed)}/s · ${duration((upload.size - sent) / speed)} left`
}

// tus wraps the detail from the application in a technical text.
function reason(error) {
  const [, detail] = /"detail":("(?:[^"\\]|\\.)*")/.exec(error) ?? []
  return detail ? JSON.parse(detail) : error
}
