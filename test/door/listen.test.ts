import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isLoopback, type Listening, listen } from '../../runtime/http/index.ts'
import { doorRig, type Rig, readEvents, until } from './door_rig.ts'

let rig: Rig
let listening: Listening
beforeAll(async () => {
  rig = await doorRig()
  listening = await listen(rig.door.fetch, { port: 0 })
})
afterAll(async () => {
  await listening.close()
  await rig.stop()
})

/** Sends bytes as they are and reads until the other side ends. */
async function bytes(text: string): Promise<string> {
  const socket = connect(listening.port, '127.0.0.1')
  socket.setEncoding('utf8')
  let answer = ''
  socket.on('data', (data) => {
    answer += data
  })
  socket.on('error', () => {})
  socket.write(text)
  await once(socket, 'close')
  return answer
}

test('it is bound to this machine only, unless told otherwise', () => {
  expect(listening.url).toBe(`http://127.0.0.1:${listening.port}`)
  expect(['127.0.0.1', '127.1.2.3', 'localhost', '::1'].every(isLoopback)).toBe(true)
  expect(['0.0.0.0', '::', '10.0.0.1', '127.evil.example', 'example.com'].some(isLoopback)).toBe(false)
})

test('a request over the wire is answered', async () => {
  const answer = await fetch(`${listening.url}/resources/volume?wait=10`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'data', size: 1 }),
  })
  expect({ status: answer.status, body: await answer.json() }).toMatchObject({
    status: 200,
    body: { outcome: 'done' },
  })
})

test.each([
  ['bytes that are not HTTP', 'hello\r\n\r\n', 400],
  ['headers without end', `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
  ['a foreign host', 'GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n', 403],
  ['a host that is none', 'GET / HTTP/1.1\r\nHost: a b/c\r\nConnection: close\r\n\r\n', 400],
  ['no host', 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
  [
    'a body that is too large',
    `POST /resources/volume HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${10 << 20}\r\n\r\n{`,
    413,
  ],
])('%s: refused', async (_, text, status) => {
  expect(await bytes(text)).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
})

test('what is refused below the door has the form of all errors', async () => {
  const [, body] = (await bytes('hello\r\n\r\n')).split('\r\n\r\n')
  expect(JSON.parse(body!).error).toEqual({ code: 'bad_request', message: 'this is not HTTP' })
})

test('a client that leaves its stream or its wait costs nothing any longer', async () => {
  let streams = 0
  const watch = rig.runtime.watch.bind(rig.runtime)
  rig.runtime.watch = (listener, options) => {
    streams++
    const stop = watch(listener, options)
    return () => {
      streams--
      stop()
    }
  }
  const over = new AbortController()
  const events = readEvents(await fetch(`${listening.url}/events`, { signal: over.signal }))
  await events.next()
  expect(streams).toBe(1)
  over.abort()
  await until(() => streams === 0)
})

test('a port that is taken rejects', async () => {
  await expect(listen(rig.door.fetch, { port: listening.port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
})

test('a close ends what is open', async () => {
  const own = await listen(rig.door.fetch, { port: 0 })
  const events = readEvents(await fetch(`${own.url}/events`))
  await events.next()
  const ended = events.next().catch(() => null)
  await own.close()
  expect(await ended).toBe(null)
  await expect(fetch(own.url)).rejects.toThrow()
})
