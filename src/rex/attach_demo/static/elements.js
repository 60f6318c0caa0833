// Create elements, and find those of the page.

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
