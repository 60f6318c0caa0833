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

// For those who do not see the page.
export function say(text) {
  byId('said').textContent = text
}
