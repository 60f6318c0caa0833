// Unfinished uploads survive a reload: the browser stores them, with their files (IndexedDB).
// Only one tab does so, since a second one would take over the uploads of the first.

const GIB = 1024 ** 3
const LARGEST = 2 * GIB // larger files must be chosen again
const TOTAL = 4 * GIB
const SMALL = 1024 ** 2 // files up to this size are stored together
const LIFE = 24 * 3600 * 1000 // milliseconds
const HANDOVER = 1000 // milliseconds for a page that is reloaded to release the lock
const HELD = 'attachments-held'

let database = null
let total = 0

// Return what an earlier page stored, or null if another tab stores its uploads.
export async function openStore() {
  if (!(await isOurs())) return null
  database = await open()
  const stores = database.transaction(['uploads', 'files'])
  const [records, keys, files] = await Promise.all([
    resultOf(stores.objectStore('uploads').getAll()),
    resultOf(stores.objectStore('files').getAllKeys()),
    resultOf(stores.objectStore('files').getAll()),
  ])
  const found = new Map(keys.map((key, index) => [key, files[index]]))
  const fresh = records.filter(({ order }) => order > Date.now() - LIFE)
  forget(records.filter((record) => !fresh.includes(record)))
  const uploads = fresh.sort((one, other) => one.order - other.order)
  for (const upload of uploads) {
    upload.data = found.get(upload.key) ?? null
    total += upload.data?.size ?? 0
  }
  return { uploads, isHeld: HELD in localStorage }
}

// Resolve when this page has the lock, which it keeps; without locks, at once.
function isOurs() {
  if (!navigator.locks) return true
  const options = { signal: AbortSignal.timeout(HANDOVER) }
  return new Promise((resolve) => {
    const hold = () => {
      resolve(true)
      return new Promise(() => {})
    }
    navigator.locks.request('attachments', options, hold).catch(() => resolve(false))
  })
}

function open() {
  const request = indexedDB.open('attachments', 1)
  request.onupgradeneeded = () => {
    request.result.createObjectStore('uploads', { keyPath: 'key' })
    request.result.createObjectStore('files')
  }
  return resultOf(request)
}

function resultOf(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

// Best effort: a transaction that fails, as on a full disk, does not stop an upload.
function write(name, act) {
  const transaction = database.transaction(name, 'readwrite', { durability: 'relaxed' })
  act(transaction.objectStore(name))
  transaction.commit() // otherwise a page that ends now might not
}

// Store new uploads and their files; small files in one transaction, so that it takes no time.
export function keep(uploads) {
  if (!database) return
  note(uploads)
  const fitting = uploads.filter(({ size }) => {
    const fits = size <= LARGEST && total + size <= TOTAL
    if (fits) total += size
    return fits
  })
  const put = (group) =>
    write('files', (files) => group.forEach(({ key, data }) => files.put(data, key)))
  const small = fitting.filter(({ size }) => size <= SMALL)
  if (small.length > 0) put(small)
  for (const upload of fitting) if (upload.size > SMALL) put([upload])
}

// Store how far uploads have come.
export function note(uploads) {
  if (!database) return
  write('uploads', (records) => {
    for (const { key, name, path, type, size, order, sent, tus, s3Multipart, state } of uploads) {
      const isPaused = state === 'paused'
      records.put({ key, name, path, type, size, order, sent, tus, s3Multipart, isPaused })
    }
  })
}

export function forget(uploads) {
  if (!database || uploads.length === 0) return
  for (const name of ['uploads', 'files']) {
    write(name, (store) => uploads.forEach(({ key }) => store.delete(key)))
  }
  total = Math.max(0, uploads.reduce((left, { size }) => left - size, total))
}

// Store whether all uploads are paused.
export function noteHeld(isHeld) {
  if (!database) return
  if (isHeld) localStorage.setItem(HELD, '')
  else localStorage.removeItem(HELD)
}
