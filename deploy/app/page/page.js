// Files go straight to the S3 server by a link, and are then claimed for the list of the user.

const at = (id) => document.getElementById(id)

async function ask(path, options) {
  const response = await fetch(path, options)
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
  return response.status === 204 ? null : response.json()
}

const post = (path, body) =>
  ask(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })

async function upload(file) {
  const { name, size } = file
  const { link, receipt } = await post('/attach/links', { name, size, method: 'POST' })
  const form = new FormData()
  for (const [field, value] of Object.entries(link.fields)) form.append(field, value)
  form.append('file', file)
  const response = await fetch(link.url, { method: 'POST', body: form })
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
  await post('/attach/claim', { receipt })
}

function row({ handle, size }) {
  const name = handle.split('/').pop()
  const href = `/attach${handle.split('/').map(encodeURIComponent).join('/')}`
  const link = Object.assign(document.createElement('a'), { href, textContent: name })
  const bytes = Object.assign(document.createElement('span'), { textContent: `${size} bytes` })
  const remove = Object.assign(document.createElement('button'), { textContent: 'Remove' })
  remove.setAttribute('aria-label', `Remove ${name}`)
  remove.addEventListener('click', () =>
    attempt('Removed', () => ask(href, { method: 'DELETE' })))
  const item = document.createElement('li')
  item.append(link, bytes, remove)
  return item
}

async function list() {
  at('files').replaceChildren(...(await ask('/files')).map(row))
}

async function attempt(done, action) {
  try {
    await action()
    await list()
    at('status').textContent = done
  } catch (error) {
    at('status').textContent = `Failed: ${error.message}`
  }
}

at('choose').addEventListener('change', async ({ target }) => {
  const chosen = [...target.files]
  target.value = ''
  for (const file of chosen) {
    at('status').textContent = `Uploading ${file.name} …`
    await attempt(`Stored ${file.name}`, () => upload(file))
  }
})

attempt('', () => {})
