// Sends large bodies that are refused before they are sent, and prints what was read, as JSON.
// It takes one argument, JSON: the address, headers, the size in MiB, how often, and the client.

import http from 'node:http'

const { url, headers, mib, times, client } = JSON.parse(process.argv[2])
const chunk = Buffer.alloc(1 << 20)

// What node's `http` does with a stream: it writes until the server takes no more.
function withHttp() {
  return new Promise((done) => {
    const length = { 'Content-Length': mib * chunk.length }
    const request = http.request(url, { method: 'POST', headers: { ...headers, ...length } })
    let left = mib
    request.on('response', (response) => {
      left = 0
      const read = []
      response.on('data', (data) => read.push(data))
      response.on('end', () => {
        request.destroy()
        done(`${response.statusCode} ${JSON.parse(Buffer.concat(read)).status}`)
      })
      response.on('error', (error) => done(error.code ?? error.message))
    })
    request.on('error', (error) => done(error.code ?? error.message))
    const write = () => {
      while (left-- > 0) if (!request.write(chunk)) return request.once('drain', write)
    }
    write()
  })
}

async function withFetch() {
  try {
    const response = await fetch(url, { method: 'POST', headers, body: Buffer.alloc(mib << 20) })
    return `${response.status} ${(await response.json()).status}`
  } catch (error) {
    return error.cause?.code ?? error.message
  }
}

const ask = { http: withHttp, fetch: withFetch }[client]
const read = []
for (let number = 0; number < times; number++) read.push(await ask())
process.stdout.write(JSON.stringify(read))
