// A row of the list: a file and what can be done with it. Quiet until the pointer or focus is there.

import { element } from './elements.js'
import { age, size } from './format.js'
import { icon } from './icons.js'
import { kindOf } from './kinds.js'
import { menuButton } from './menu.js'
import { nameOf } from './names.js'
import { picker, select } from './selection.js'
import { urlOf } from './service.js'
import { thumbnail } from './thumbnails.js'

// `actions` has a function of the file and its row for each: look, save, copy, remove.
export function makeRow(file, actions) {
  const act = (name) => () => actions[name](file, row)
  const label = (verb) => ({ ariaLabel: `${verb} ${file.name}`, title: verb, className: 'icon-button' })
  const name = element('button', { type: 'button', ariaLabel: file.name, className: 'look' }, nameOf(file.name, { lines: 2 }))
  const time = element('time', { dateTime: file.modified, title: new Date(file.modified).toLocaleString() })
  const box = picker(file)
  const open = () => window.open(urlOf(file.handle), '_blank', 'noopener')
  const items = () => [
    ['Open', open],
    ['Download', act('save')],
    ['Copy link', act('copy')],
    ['Select', () => select(box)],
    ['Remove', act('remove'), { className: 'danger' }],
  ]
  const save = { ...label('Download'), href: urlOf(file.handle), download: file.name }
  const row = element(
    'li',
    {},
    box,
    thumbnail(file),
    element(
      'div',
      { className: 'what' },
      name,
      element(
        'div',
        { className: 'detail' },
        element('span', { className: 'badge' }, 'New'),
        `${size(file.size)} · `,
        element('span', { className: 'kind' }, `${kindOf(file.content_type)[0]} · `),
        time,
      ),
    ),
    element(
      'div',
      { className: 'actions' },
      element('a', save, icon('download')),
      element('button', { type: 'button', ...label('Copy link'), onclick: act('copy') }, icon('link')),
      menuButton({ ...label('More for'), title: 'More' }, items, icon('more')),
    ),
  )
  row.querySelector('a').addEventListener('click', (event) => {
    event.preventDefault()
    actions.save(file, row)
  })
  row.addEventListener('click', ({ target }) => {
    const isOther = !target.closest('.look') && (target.closest('a, button, input, .link') || isMarking())
    if (isOther) return
    // Where there is no pointer, a tap continues a selection.
    if (row.closest('.selecting') && matchMedia('(hover: none)').matches) box.click()
    else actions.look(file)
  })
  row.file = file
  row.show = ({ isNew }) => {
    const words = age(new Date(file.modified))
    if (time.textContent !== words) time.textContent = words
    row.classList.toggle('new', isNew)
  }
  return row
}

// Whether the user marks text, for which a click is not meant for the row.
const isMarking = () => getSelection().type === 'Range'
