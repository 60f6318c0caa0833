// Format sizes, times and extensions.

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte']
// Made once, since making one takes longer than using it a hundred times.
const FORMATS = UNITS.map(
  (unit, power) =>
    new Intl.NumberFormat('en', {
      style: 'unit',
      unit,
      unitDisplay: power === 0 ? 'long' : 'short',
      maximumSignificantDigits: 3,
    }),
)

export function size(bytes) {
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1)
  return FORMATS[power].format(bytes / 1000 ** power).replace(' ', '\u00a0')
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))}\u00a0s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 60) return `${minutes}\u00a0min`
  return `${Math.floor(minutes / 60)}\u00a0h ${minutes % 60}\u00a0min`
}

export const percent = (share) => `${Math.floor(share * 100)}\u00a0%`

const AGES = [
  ['year', 31557600],
  ['month', 2629800],
  ['day', 86400],
  ['hour', 3600],
  ['minute', 60],
]

export function age(date) {
  const seconds = (Date.now() - date) / 1000
  const [unit, length] = AGES.find(([, length]) => seconds >= length) ?? []
  if (!unit) return 'just now'
  const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })
  return words.format(-Math.floor(seconds / length), unit)
}

export function extension(name) {
  const found = /\.([a-z0-9]{1,5})$/i.exec(name)
  return found ? found[1] : 'file'
}
