// Format sizes, times and extensions.

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte']

export function size(bytes) {
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1)
  return new Intl.NumberFormat('en', {
    style: 'unit',
    unit: UNITS[power],
    unitDisplay: power === 0 ? 'long' : 'short',
    maximumSignificantDigits: 3,
  }).format(bytes / 1000 ** power)
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`
}

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
