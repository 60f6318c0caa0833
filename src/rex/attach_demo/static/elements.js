// Making elements, and finding those that the page has.

// Text is always text: nothing that a user named is ever read as HTML.
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

// For those who do not see the page: what happens, and not more often than one can hear it.
export function say(text) {
  if (said.length === 0) setTimeout(() => (said = []), BURST)
  said.push(text)
  const more = said.length > 3 ? `${said.length - 3} more; ` : ''
  byId('said').textContent = more + said.slice(-3).join('; ')
}
