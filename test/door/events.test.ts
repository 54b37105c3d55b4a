import { expect, test } from 'vitest'
import { StoreError } from '../../runtime/index.ts'
import { doorRig, type Rig, readEvents, until } from './door_rig.ts'

const open = (rig: Rig, path = '/events', headers: Record<string, string> = {}) =>
  rig.door.fetch(new Request(`http://localhost${path}`, { headers }))

test('a stream tells each change once, in order, with the offset of its commit as id', async () => {
  const rig = await doorRig()
  const answer = await open(rig)
  expect(answer.headers.get('content-type')).toContain('text/event-stream')
  const events = readEvents(answer)
  expect(await events.next()).toMatchObject({ id: String(rig.runtime.offset()) })
  const { id } = await rig.available()
  const statuses: string[] = []
  let offset = 0
  while (statuses.at(-1) !== 'available') {
    const event = (await events.next())!
    if (event.data === undefined) continue
    const { row, key, type } = JSON.parse(event.data)
    expect({ type, key, event: event.event }).toEqual({
      type: 'change',
      key: `volume/${id}`,
      event: 'change',
    })
    if (event.id !== undefined) {
      expect(Number(event.id)).toBeGreaterThan(offset)
      offset = Number(event.id)
    }
    statuses.push(row.status)
  }
  expect(statuses[0]).toBe('creating')
  await events.cancel()
  await rig.stop()
})

test('a client that comes back with its last id sees what it missed, and nothing twice', async () => {
  const rig = await doorRig()
  const start = rig.runtime.offset()
  for (let i = 0; i < 5; i++) await rig.available()
  const end = rig.runtime.offset()
  const whole = await readUpTo(rig, `/events?from=${start}`, {}, end)
  expect(whole.length).toBeGreaterThanOrEqual(15)
  for (const stopAfter of [0, 1, 4, whole.length - 1]) {
    // The id of the last event that had one: what a browser sends.
    const seen = whole.slice(0, stopAfter + 1)
    const last = seen.findLast(({ id }) => id !== undefined)?.id ?? String(start)
    const rest = await readUpTo(rig, '/events?from=0', { 'last-event-id': last }, end)
    const told = seen.filter(({ offset }) => offset <= Number(last))
    expect([...told, ...rest].map(({ data }) => data)).toEqual(whole.map(({ data }) => data))
  }
  await rig.stop()
})

async function readUpTo(rig: Rig, path: string, headers: Record<string, string>, end: number) {
  const events = readEvents(await open(rig, path, headers))
  const read: { id: string | undefined; data: string; offset: number }[] = []
  for (let id = -1; id < end; ) {
    const event = (await events.next())!
    if (event.data !== undefined)
      read.push({ id: event.id, data: event.data, offset: JSON.parse(event.data).offset })
    if (event.id !== undefined) id = Number(event.id)
  }
  await events.cancel()
  return read
}

test('a stream of one resource has no other, and its place moves on all the same', async () => {
  const rig = await doorRig()
  const { id } = await rig.available()
  const events = readEvents(await open(rig, `/events?kind=volume&id=${id}`))
  await events.next()
  await rig.available()
  const offset = rig.runtime.offset()
  let event = await events.next()
  while (Number(event?.id) < offset) {
    expect(event?.data).toBeUndefined()
    event = await events.next()
  }
  await rig.ask('POST', `/resources/volume/${id}/delete`)
  while (event?.data === undefined) event = await events.next()
  expect(JSON.parse(event.data).key).toBe(`volume/${id}`)
  await events.cancel()
  await rig.stop()
})

test('an offset that is no longer kept answers 410', async () => {
  const rig = await doorRig()
  const watch = rig.runtime.watch.bind(rig.runtime)
  rig.runtime.watch = (listener, options) => {
    if (options?.from === 1) throw new StoreError('offset_too_old', 'offset 1 is no longer kept')
    return watch(listener, options)
  }
  expect(await rig.ask('GET', '/events?from=1')).toMatchObject({
    status: 410,
    body: { error: { code: 'offset_too_old' } },
  })
  expect(await rig.ask('GET', '/events', undefined, { 'last-event-id': 'x' })).toMatchObject({ status: 400 })
  expect(await rig.ask('GET', '/events?kind=volme')).toMatchObject({ status: 404 })
  await rig.stop()
})

test('a client that does not read is cut off, and the others go on', async () => {
  const rig = await doorRig({ most_waiting: 20 })
  const stops = countStops(rig)
  const slow = await open(rig)
  const quick = readEvents(await open(rig))
  let told = 0
  const reading = (async () => {
    while ((await quick.next()) !== null) told++
  })()
  for (let i = 0; i < 40; i++) await rig.available()
  await until(() => stops() === 1)
  await until(() => told > 100)
  // Its stream is over: it comes back with the last id that it has seen.
  const left = readEvents(slow)
  while ((await left.next()) !== null);
  rig.door.close()
  await reading
  await rig.stop()
})

test('a quiet stream shows that it is alive; one that nobody reads ends', async () => {
  const rig = await doorRig({ heartbeat_ms: 20 })
  const stops = countStops(rig)
  const events = readEvents(await open(rig, '/events?kind=backup'))
  const seen: Record<string, string>[] = []
  while (seen.filter((event) => '' in event).length < 3) seen.push((await events.next())!)
  expect(seen.some((event) => event.data !== undefined)).toBe(false)
  await events.cancel()
  const before = stops()
  const unread = await open(rig, '/events?kind=backup')
  await until(() => stops() === before + 1)
  await unread.body!.cancel()
  await rig.stop()
})

test('streams are limited in number', async () => {
  const rig = await doorRig({ most_streams: 2 })
  const first = await open(rig)
  await open(rig)
  expect(await rig.ask('GET', '/events')).toMatchObject({
    status: 429,
    body: { error: { code: 'too_many_streams' } },
  })
  await first.body!.cancel()
  expect((await open(rig)).status).toBe(200)
  await rig.stop()
})

/** How many streams have let go of the feed. */
function countStops({ runtime }: Rig): () => number {
  let stopped = 0
  const watch = runtime.watch.bind(runtime)
  runtime.watch = (listener, options) => {
    const stop = watch(listener, options)
    return () => {
      stopped++
      stop()
    }
  }
  return () => stopped
}
