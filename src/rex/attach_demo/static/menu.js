// The menu of a row: one element, which the button of each row opens.

import { byId, element } from './elements.js'

const GAP = 4 // pixels

// Make a button that opens the menu with what `items` returns: [label, action, properties] each.
export function menuButton(properties, items, ...content) {
  const menu = byId('menu')
  const button = element('button', { type: 'button', ariaHasPopup: 'menu', ...properties }, ...content)
  button.popoverTargetElement = menu
  button.addEventListener('click', () => {
    menu.replaceChildren(...items().map(itemOf))
    const onToggle = ({ newState }) => {
      button.closest('li')?.classList.toggle('open', newState === 'open')
      if (newState === 'closed') menu.removeEventListener('toggle', onToggle)
      else place(menu, button.getBoundingClientRect())
    }
    menu.addEventListener('toggle', onToggle)
  })
  return button
}

export function setUpMenu() {
  const menu = byId('menu')
  menu.addEventListener('keydown', (event) => {
    const items = [...menu.children]
    const at = items.indexOf(document.activeElement)
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key]
    if (event.key === 'Tab') menu.hidePopover()
    if (to === undefined) return
    event.preventDefault()
    items.at(to % items.length).focus()
  })
  addEventListener('scroll', () => menu.matches(':popover-open') && menu.hidePopover())
}

function itemOf([label, act, properties = {}]) {
  const item = { type: 'button', role: 'menuitem', tabIndex: -1, ...properties }
  const made = element('button', item, label)
  made.addEventListener('click', () => {
    byId('menu').hidePopover() // gives the focus back to the button
    act()
  })
  return made
}

// Below the button, or above it where there is no room.
function place(menu, beside) {
  const { width, height } = menu.getBoundingClientRect()
  const below = beside.bottom + GAP
  const top = below + height > innerHeight ? beside.top - GAP - height : below
  menu.style.top = `${Math.max(GAP, top)}px`
  menu.style.left = `${Math.max(GAP, beside.right - width)}px`
  menu.firstElementChild.focus({ preventScroll: true })
}
