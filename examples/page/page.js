// The page of the examples: two ways to upload, and the user's files.

import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import Tus from '@uppy/tus'

const at = (id) => document.getElementById(id)
const receipts = new Map()

async function ask(path, options) {
  const response = await fetch(path, options)
  if (!response.ok) throw new Error((await response.json()).detail)
  return response.status === 204 ? null : response.json()
}

const post = (path, body) =>
  ask(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })

async function signRequest(request) {
  const signed = await post('/attach/sign', request)
  if (signed.receipt) receipts.set(signed.key, signed.receipt)
  return signed
}

// A file that went straight to the storage belongs to the user once it is claimed.
async function claim(uppy, ids) {
  const stored = ids.map((id) => uppy.getFile(id)).filter((file) => !file.error)
  const keys = stored.map((file) => file.response.body.key)
  await Promise.all(keys.map((key) => post('/attach/claim', { receipt: receipts.get(key) })))
}

function uploader(input, plugin, options) {
  const uppy = new Uppy({ autoProceed: true }).use(plugin, options)
  uppy.on('progress', (percent) => Object.assign(at('progress'), { value: percent, hidden: false }))
  uppy.on('error', (error) => { at('message').value = error.message })
  uppy.on('upload-error', (_, error) => { at('message').value = error.message })
  uppy.on('complete', async () => {
    uppy.clear()
    at('progress').hidden = true
    await list()
  })
  input.addEventListener('change', () => {
    at('message').value = ''
    uppy.addFiles([...input.files].map((data) => ({ name: data.name, type: data.type, data })))
    input.value = ''
  })
  return uppy
}

function row(handle) {
  const name = handle.split('/').pop()
  const address = `/attach${handle.split('/').map(encodeURIComponent).join('/')}`
  const item = document.createElement('li')
  const view = Object.assign(document.createElement('a'), { href: address, textContent: name })
  const save = Object.assign(document.createElement('a'), { href: address, textContent: 'Download' })
  const remove = Object.assign(document.createElement('button'), { textContent: 'Remove' })
  save.download = name
  remove.addEventListener('click', async () => {
    await ask(address, { method: 'DELETE' })
    await list()
  })
  item.append(view, ' ', save, ' ', remove)
  return item
}

async function list() {
  const { user, handles } = await ask('/files')
  at('login').hidden = user !== null
  at('files').hidden = user === null
  at('user').value = user
  at('list').replaceChildren(...handles.map(row))
}

uploader(at('tus'), Tus, { endpoint: '/attach/tus/' })
const direct = uploader(at('direct'), AwsS3, {
  signRequest,
  generateObjectKey: (file) => file.name,
})
direct.addPostProcessor((ids) => claim(direct, ids))
list()
