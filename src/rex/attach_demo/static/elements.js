// Create elements, and find those of the page.

const SVG = 'http://www.w3.org/2000/svg'

// Children are text nodes: a name from a user is never parsed as HTML.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value
    else made.setAttribute(name, value)
  }
  made.append(...children)
  return made
}

// A drawing of lines in a square of 24 by 24.
export function icon(lines) {
  const drawing = document.createElementNS(SVG, 'svg')
  drawing.setAttribute('viewBox', '0 0 24 24')
  drawing.setAttribute('aria-hidden', 'true')
  drawing.append(document.createElementNS(SVG, 'path'))
  drawing.firstChild.setAttribute('d', lines)
  return drawing
}

export const byId = (id) => document.getElementById(id)

const BURST = 1000 // milliseconds
let said = []

// Announce an event to screen readers, with bursts of events summarised.
export function say(text) {
  if (said.length === 0) setTimeout(() => (said = []), BURST)
  said.push(text)
  const more = said.length > 3 ? `${said.length - 3} more; ` : ''
  byId('said').textContent = more + said.slice(-3).join('; ')
}
