// The selected files, and what can be done with all of them at once.

import { byId, element, say } from './elements.js'

const chosen = new Map() // files by handle
let last = null // the box that was changed last, from which Shift selects

export const selected = () => [...chosen.values()]

// Make the box that selects a file.
export function picker(file) {
  const box = element('input', { type: 'checkbox', className: 'pick', ariaLabel: `Select ${file.name}` })
  box.file = file
  box.addEventListener('click', ({ shiftKey }) => {
    if (shiftKey && last) between(last, box).forEach((each) => set(each, box.checked))
    else set(box, box.checked)
    last = box
    show()
  })
  return box
}

export function setUpSelection({ onDownload, onRemove }) {
  byId('select-all').addEventListener('click', () => selectAll(true))
  byId('select-none').addEventListener('click', clear)
  byId('download-selected').addEventListener('click', () => onDownload(selected()))
  byId('remove-selected').addEventListener('click', () => onRemove(selected()))
  addEventListener('keydown', ({ key, target }) => {
    const isElsewhere = document.querySelector('dialog[open], :popover-open') || target.type === 'search'
    if (key === 'Escape' && chosen.size > 0 && !isElsewhere) clear()
  })
}

export function select(box) {
  set(box, true)
  last = box
  show()
  box.focus()
}

// Select only what is still in the list.
export function keepSelected(handles) {
  for (const handle of chosen.keys()) if (!handles.has(handle)) chosen.delete(handle)
  for (const box of boxes()) box.checked = chosen.has(box.file.handle)
  show()
}

const boxes = () => [...byId('stored').querySelectorAll('.pick')]

function clear() {
  const wasInside = byId('selection').contains(document.activeElement)
  selectAll(false)
  if (wasInside) (last?.isConnected ? last : byId('sort')).focus()
}

function selectAll(isSelected) {
  boxes().forEach((box) => set(box, isSelected))
  if (!isSelected) chosen.clear()
  show()
}

function set(box, isSelected) {
  box.checked = isSelected
  if (isSelected) chosen.set(box.file.handle, box.file)
  else chosen.delete(box.file.handle)
}

function between(one, other) {
  const all = boxes()
  const [from, to] = [all.indexOf(one), all.indexOf(other)].sort((a, b) => a - b)
  return from < 0 ? [other] : all.slice(from, to + 1)
}

function show() {
  const words = chosen.size > 0 ? `${chosen.size} selected` : ''
  if (words && words !== byId('selected').textContent) say(words)
  byId('selected').textContent = words
  byId('selection').hidden = chosen.size === 0
  byId('stored').classList.toggle('selecting', chosen.size > 0)
}
