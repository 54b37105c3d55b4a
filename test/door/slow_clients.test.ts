// Clients that are slow, silent or too many, over real sockets with short limits: each is let go of, nothing of
// it stays behind, and the others are served. Everything is awaited by what the other side does.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Listening, listen, type SocketLimits } from '../../runtime/http/index.ts'
import { doorRig, type Rig, readEvents, until } from './door_rig.ts'

let rig: Rig
const open: Listening[] = []
beforeEach(async () => {
  rig = await doorRig({ heartbeat_ms: 20 })
})
afterEach(async () => {
  for (const listening of open.splice(0)) await listening.close()
  await rig.stop()
})

async function serving(limits: Partial<SocketLimits>, fetch = rig.door.fetch): Promise<Listening> {
  const listening = await listen(fetch, { port: 0, limits: { look_ms: 10, ...limits } })
  open.push(listening)
  return listening
}

/** A connection on which these bytes were sent. */
async function sent({ port }: Listening, bytes: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  if (bytes !== '') socket.write(bytes)
  return socket
}

/** Everything that comes until the other side ends. */
async function answerOn(socket: Socket): Promise<string> {
  let text = ''
  socket.setEncoding('utf8').on('data', (piece) => {
    text += piece
  })
  await once(socket, 'close')
  return text
}

test.each([
  ['says nothing', ''],
  ['stops in its headers', 'GET /nodes HTTP/1.1\r\nHost: localhost\r\nX-'],
])('a client that %s is answered 408 and let go of', async (_, bytes) => {
  const listening = await serving({ headers_ms: 30, request_ms: 60 })
  expect(await answerOn(await sent(listening, bytes))).toMatch(/^HTTP\/1\.1 408 .*"bad_request"/s)
})

test('a client that stops in its body is let go of, and nothing was accepted', async () => {
  const listening = await serving({ headers_ms: 30, request_ms: 60 })
  const before = rig.runtime.offset()
  const head = 'POST /resources/volume HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
  const answer = await answerOn(await sent(listening, `${head}Content-Length: 21\r\n\r\n{"name":"a",`))
  expect(answer).toMatch(/^HTTP\/1\.1 408 /)
  expect(rig.changedSince(before)).toEqual([])
})

test('a connection that is left open after its answer is closed', async () => {
  const listening = await serving({ keep_alive_ms: 30 })
  expect(await answerOn(await sent(listening, 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n'))).toContain(
    '{"alive":true}',
  )
})

test('a client that does not take its answer is cut off', async () => {
  let pulls = 0
  const endless = async () =>
    new Response(
      new ReadableStream({
        pull(controller) {
          pulls++
          controller.enqueue(new Uint8Array(1 << 16))
        },
        cancel: () => over(),
      }),
    )
  let over = () => {}
  const cancelled = new Promise<void>((resolve) => {
    over = resolve
  })
  const listening = await serving({ answer_ms: 50 }, endless)
  const socket = await sent(listening, 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  socket.pause()
  await cancelled
  expect(pulls).toBeGreaterThan(0)
  socket.destroy()
})

test('an event stream outlives the limit of an answer', async () => {
  const listening = await serving({ answer_ms: 30 })
  const events = readEvents(await fetch(`${listening.url}/events?kind=backup`))
  // More signs of life than fit into the limit.
  for (let beats = 0; beats < 10; beats++) expect(await events.next()).not.toBe(null)
  await events.cancel()
})

test('an event stream that nobody reads is cut off, and its connection is closed', async () => {
  const own = await doorRig({ heartbeat_ms: 10, most_waiting: 5 })
  let watching = 0
  const watch = own.runtime.watch.bind(own.runtime)
  own.runtime.watch = (listener, options) => {
    const stop = watch(listener, options)
    watching++
    return () => {
      watching--
      stop()
    }
  }
  const listening = await serving({ idle_ms: 50, keep_alive_ms: 30 }, own.door.fetch)
  const socket = connect(listening.port, '127.0.0.1')
  socket.on('error', () => {})
  const closed = once(socket, 'close')
  socket.pause()
  socket.write('GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await until(() => watching === 1)
  const name = 'x'.repeat(200)
  while (watching === 1)
    await Promise.all(
      Array.from({ length: 50 }, () => own.ask('POST', '/resources/volume', { name, size: 1 })),
    )
  socket.resume()
  await closed
  await own.stop()
})

test('connections past the limit are not taken, and are once another has gone', async () => {
  const listening = await serving({ connections: 2 })
  const [first, second] = [await sent(listening, ''), await sent(listening, '')]
  const third = await sent(listening, 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
  expect(await answerOn(third)).toBe('')
  first.destroy()
  second.destroy()
  await until(async () => {
    const request = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
    return (await answerOn(await sent(listening, request))).includes('"alive":true')
  })
})

test('a stream that breaks goes on where it was: nothing is missed and nothing told twice', async () => {
  const listening = await serving({})
  const start = rig.runtime.offset()
  for (let i = 0; i < 3; i++) await rig.available()
  const read: string[] = []
  let last = String(start)
  let end = Number.POSITIVE_INFINITY
  for (let breaks = 0; Number(last) < end; breaks++) {
    const over = new AbortController()
    const headers = { 'last-event-id': last }
    const events = readEvents(
      await fetch(`${listening.url}/events?kind=volume`, { headers, signal: over.signal }),
    )
    // Each connection lives for two messages, the last ones for all there is.
    const most = breaks < 4 ? 2 : Number.POSITIVE_INFINITY
    let told: string[] = []
    for (let count = 0; count < most && Number(last) < end; count++) {
      const event = (await events.next())!
      if (event.data !== undefined) told.push(event.data)
      if (event.id === undefined) continue
      // What came with an id is told; the rest comes again.
      read.push(...told)
      told = []
      last = event.id
    }
    over.abort()
    if (breaks === 0) {
      await rig.available()
      end = rig.runtime.offset()
    }
  }
  const all: string[] = []
  rig.runtime.watch(
    (event) => event.type === 'change' && event.key.startsWith('volume/') && all.push(JSON.stringify(event)),
    { from: start },
  )()
  expect(read).toEqual(all.slice(0, read.length))
  expect(read.length).toBeGreaterThanOrEqual(12)
})

test('calls and waits past their limits are refused before anything is done, and served once there is room', async () => {
  const own = await doorRig({ most_waits: 1, most_calls: 1 })
  const { id } = await own.available()
  const waiting = own.ask('POST', `/resources/volume/${id}/extend?wait=30`, { size: 2 })
  const [gate] = await own.extending()
  const before = own.runtime.offset()
  const refused = await own.ask('POST', '/resources/volume?wait=1', { name: 'b', size: 1 })
  expect(refused).toMatchObject({ status: 429, body: { error: { code: 'too_many_waits' } } })
  expect(refused.headers.get('retry-after')).toBe('1')
  expect(own.changedSince(before)).toEqual([])
  // Who does not wait is served meanwhile: a wait is no call that is under way.
  expect(await own.ask('POST', '/resources/volume', { name: 'b', size: 1 })).toMatchObject({ status: 202 })
  const many = await Promise.all(
    ['c', 'd', 'e'].map((name) => own.ask('POST', '/resources/volume', { name, size: 1 })),
  )
  expect(many.map(({ status }) => status).sort()).toEqual([202, 429, 429])
  expect(many.find(({ status }) => status === 429)!.body.error.code).toBe('too_many_calls')
  gate!.go()
  expect(await waiting).toMatchObject({ status: 200 })
  expect(await own.ask('POST', '/resources/volume?wait=10', { name: 'f', size: 1 })).toMatchObject({
    status: 200,
  })
  expect((await own.runtime.list('volume')).rows).toHaveLength(4)
  await own.stop()
})
