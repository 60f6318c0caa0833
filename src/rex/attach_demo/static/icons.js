// Pictures drawn here, as SVG: of actions, and of the kinds of files.

const SVG = 'http://www.w3.org/2000/svg'

// Outlines in a square of 24.
const PATHS = {
  download: 'M12 4v11m-5-5 5 5 5-5M5 20h14',
  link: 'm9 15 6-6M11 6l1.5-1.5a4.2 4.2 0 0 1 6 6L17 12m-4 6-1.5 1.5a4.2 4.2 0 0 1-6-6L7 12',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  open: 'M14 4h6v6m0-6-9 9M18 14v5H5V6h5',
  remove: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13',
  previous: 'm14 6-6 6 6 6',
  next: 'm10 6 6 6-6 6',
  close: 'm6 6 12 12M18 6 6 18',
  image: 'M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01',
  video: 'M4 6h16v12H4zm6 3 5 3-5 3z',
  audio: 'M9 18V6l10-2v12M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zm10-2a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z',
  archive: 'M4 5h16v4H4zM5 9v10h14V9M10 13h4',
  document: 'M6 3h9l4 4v14H6zM9 10h7M9 14h7M9 18h4',
  sheet: 'M4 5h16v14H4zM4 10h16M4 14.5h16M10 5v14',
  slides: 'M4 5h16v11H4zM12 16v4m-4 0h8M8 13v-2m4 2V8m4 5v-3',
  code: 'm8 8-4 4 4 4m8-8 4 4-4 4m-3-10-2 12',
  other: 'M6 3h9l4 4v14H6zM15 3v4h4',
}

export function icon(name) {
  const drawn = document.createElementNS(SVG, 'svg')
  drawn.setAttribute('viewBox', '0 0 24 24')
  drawn.setAttribute('aria-hidden', 'true')
  drawn.classList.add('icon', `icon-${name}`)
  const path = document.createElementNS(SVG, 'path')
  path.setAttribute('d', PATHS[name])
  drawn.append(path)
  return drawn
}
