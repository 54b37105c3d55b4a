// What a driver may do wrong: the operation ends by policy, the node survives or is started again, and
// nothing else is harmed (rules R14, R15, R18).

import { expect, test } from 'vitest'
import type { ResourceRow } from '../../machines/row.ts'
import { DriverError } from '../../runtime/driver.ts'
import { accepted, endOf, FaultRig, orAborted } from '../kit/fault_rig.ts'

const circular: Record<string, unknown> = {}
circular.self = circular
const hostile = {
  toString() {
    throw new Error('no text')
  },
}
const getter = Object.defineProperty({}, 'size', {
  enumerable: true,
  get() {
    throw new Error('no size')
  },
})

const wrongs: [string, () => unknown, string, RegExp][] = [
  [
    'throws',
    () => {
      throw new Error('pool is full')
    },
    'driver_failed',
    /pool is full/,
  ],
  [
    'words its failure',
    () => {
      throw new DriverError('pool_full', 'pool is full')
    },
    'pool_full',
    /pool is full/,
  ],
  ['rejects with undefined', () => Promise.reject(undefined), 'driver_failed', /undefined/],
  ['rejects with null', () => Promise.reject(null), 'driver_failed', /null/],
  ['rejects with a string', () => Promise.reject('broken'), 'driver_failed', /broken/],
  ['rejects with an object that has no text', () => Promise.reject(hostile), 'driver_failed', /no text/],
  ['rejects with a symbol', () => Promise.reject(Symbol('odd')), 'driver_failed', /odd/],
  [
    'rejects with an error without message',
    () => Promise.reject(Object.assign(new Error(), { message: undefined })),
    'driver_failed',
    /./,
  ],
  [
    'rejects with an error whose message throws',
    () =>
      Promise.reject(
        Object.defineProperty(new Error(), 'message', {
          get() {
            throw new Error('x')
          },
        }),
      ),
    'driver_failed',
    /./,
  ],
  [
    'rejects with a code that is no text',
    () => Promise.reject(new DriverError(hostile as never, 'odd')),
    'driver_failed',
    /odd/,
  ],
  [
    'rejects with ten megabytes of text',
    () => Promise.reject(new Error('x'.repeat(10_000_000))),
    'driver_failed',
    /^x{1000}…$/,
  ],
  [
    'rejects with a code of ten megabytes',
    () => Promise.reject(new DriverError('x'.repeat(10_000_000), 'odd')),
    'driver_failed',
    /odd/,
  ],
  ['answers with a number', () => 7, 'driver_nonsense', /number/],
  ['answers with a list', () => [1], 'driver_nonsense', /list/],
  ['answers with a text', () => 'done', 'driver_nonsense', /string/],
  ['answers with a function', () => () => {}, 'driver_nonsense', /function/],
  ['answers with a circle', () => circular, 'driver_nonsense', /not JSON/],
  ['answers with a BigInt', () => ({ size: 1n }), 'driver_nonsense', /not JSON/],
  ['answers with a getter that throws', () => getter, 'driver_nonsense', /not JSON/],
  ['answers with a date', () => new Date(0), 'driver_nonsense', /object/],
  ['answers with something whose JSON is a list', () => ({ toJSON: () => [1] }), 'driver_nonsense', /object/],
  ['answers with a megabyte', () => ({ size: 'x'.repeat(1 << 20) }), 'driver_nonsense', /characters/],
  [
    'has a then that throws',
    () => ({
      // biome-ignore lint/suspicious/noThenProperty: a driver may answer with anything.
      get then() {
        throw new Error('thenless')
      },
    }),
    'driver_failed',
    /thenless/,
  ],
]

test('whatever a driver throws or answers with, its operation ends in the failed status with the reason, and its node lives', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1'] })
  const ends: [string, string | undefined][] = []
  for (const [name, wrong, , message] of wrongs) {
    const id = await rig.volume(runtime, name)
    rig.backend.behave = wrong
    const settled = await rig.until(accepted(await runtime.volume(id).extend({ size: 2 })).settled())
    ends.push([name, settled.ok ? 'ok' : settled.error.code])
    expect(settled.ok ? '' : settled.error.message, name).toMatch(message)
    expect(settled.row.status, name).toBe('error_extending')
    expect(settled.row.data, name).toEqual({ name, size: 1 })
  }
  expect(ends).toEqual(wrongs.map(([name, , code]) => [name, code]))
  expect(runtime.nodes()).toMatchObject([{ incarnation: 1, state: 'up' }])
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('an answer that settles twice, or changes fields that are not its own, harms nothing but its data', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1'] })
  const id = await rig.volume(runtime)
  rig.backend.behave = () => ({
    // biome-ignore lint/suspicious/noThenProperty: a driver may answer with a thenable that settles twice.
    then(resolve: (value: unknown) => void, reject: (error: unknown) => void) {
      resolve({ size: 2, status: 'gone', __proto__: { polluted: true } })
      reject(new Error('no'))
      resolve({ size: 9 })
    },
  })
  const settled = await rig.until(accepted(await runtime.volume(id).extend({ size: 2 })).settled())
  expect(endOf(settled)).toBe('available')
  expect(settled.row.data.size).toBe(2)
  expect(({} as { polluted?: boolean }).polluted).toBe(undefined)
  rig.backend.behave = () => JSON.parse('{"size": 3, "__proto__": {"polluted": true}}')
  const again = await rig.until(accepted(await runtime.volume(id).extend({ size: 3 })).settled())
  expect(endOf(again)).toBe('available')
  expect((again.row.data as { polluted?: boolean }).polluted).toBe(undefined)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('without a fence, a call that never settles keeps its resource after the timeout, listed as stuck; its end releases it', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ settings: { operation_timeout_ms: 10_000, abort_grace_ms: 1_000 } })
  const id = await rig.volume(runtime)
  const other = await rig.volume(runtime, 'other')
  rig.backend.holdDeaf()
  const extending = accepted(await runtime.volume(id).extend({ size: 2 }))
  await rig.advance(60_000)
  const [call] = rig.backend.running()
  expect(call!.aborted_at).not.toBe(null)
  expect(await runtime.volume.get(id)).toMatchObject({ status: 'extending', worker: `${call!.host}@file` })
  expect(await runtime.stuck()).toMatchObject([{ id, reason: 'leftover_call' }])
  // Nothing else is harmed: the same node and the others work on.
  rig.backend.behave = () => undefined
  expect(endOf(await rig.until(accepted(await runtime.volume(other).delete()).settled()))).toBe('gone')
  call!.finish({ size: 2 })
  // It did what was asked in the end; the node still has the claim.
  expect(['available', 'error_extending: timed_out']).toContain(endOf(await rig.until(extending.settled())))
  expect(await runtime.stuck()).toEqual([])
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('without a fence, a resource of a killed node is claimed again in this process only after its call settled', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  const id = await rig.volume(runtime)
  rig.backend.holdDeaf()
  const deleting = accepted(await runtime.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  const [call] = rig.backend.running()
  runtime.node(call!.host).kill()
  await rig.advance(60_000)
  expect(rig.backend.running()).toEqual([call])
  expect(await runtime.stuck()).toMatchObject([{ id, reason: 'leftover_call' }])
  const service = runtime.nodes().find(({ host }) => host === call!.host)
  expect(service).toMatchObject({ state: 'down', cleanup_done: false })
  rig.backend.behave = () => undefined
  call!.finish()
  expect(endOf(await rig.until(deleting.settled()))).toBe('gone')
  await rig.advance(5_000)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('with a fence, a call that never settles is fenced off after its grace and its resource goes on', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({
    driver: { fences: true },
    settings: { operation_timeout_ms: 10_000, abort_grace_ms: 1_000 },
  })
  const id = await rig.volume(runtime)
  rig.backend.holdDeaf()
  const extending = accepted(await runtime.volume(id).extend({ size: 2 }))
  const settled = await rig.until(extending.settled())
  expect(endOf(settled)).toBe('error_extending: timed_out')
  const [call] = rig.backend.running()
  expect(rig.backend.isFencedOff(call!)).toBe(true)
  rig.backend.behave = () => undefined
  expect(endOf(await rig.until(accepted(await runtime.volume(id).delete()).settled()))).toBe('gone')
  // The old call ends at last: nobody listens any more.
  call!.finish({ size: 99 })
  await rig.advance(1_000)
  expect((await runtime.volume.get(id))!.status).toBe('gone')
  expect(await runtime.stuck()).toEqual([])
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('with a fence that fails, the resource waits until the mark is raised', async () => {
  const rig = new FaultRig()
  let refused = 0
  let broken = false
  const base = rig.backend.driver('h1', { fences: true })
  const runtime = await rig.start({
    nodes: [
      {
        cluster: 'ssd',
        backend: 'file',
        host: 'h1',
        driver: {
          ...base,
          fence: async (row, fence) => {
            if (broken && ++refused > 0) throw new Error('no answer from the array')
            await base.fence!(row, fence)
          },
        },
      },
    ],
    settings: { operation_timeout_ms: 10_000, abort_grace_ms: 1_000 },
  })
  const id = await rig.volume(runtime)
  rig.backend.holdDeaf()
  const extending = accepted(await runtime.volume(id).extend({ size: 2 }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  broken = true
  await rig.advance(30_000)
  expect(refused).toBeGreaterThan(3)
  expect((await runtime.volume.get(id))!.status).toBe('extending')
  broken = false
  expect(endOf(await rig.until(extending.settled()))).toBe('error_extending: timed_out')
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a call that obeys its abort ends its operation with the reason of the abort', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ settings: { operation_timeout_ms: 5_000 } })
  const id = await rig.volume(runtime)
  rig.backend.hold()
  const settled = await rig.until(accepted(await runtime.volume(id).extend({ size: 2 })).settled())
  expect(endOf(settled)).toBe('error_extending: timed_out')
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a cancel before a claim undoes the accept; while working it aborts; a success that comes first wins; at rest it is refused', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1'] })
  const id = await rig.volume(runtime)
  runtime.node('h1').drain()
  // Queued.
  const queued = accepted(await runtime.volume(id).extend({ size: 2 }))
  const made = accepted(await runtime.volume.create({ name: 'never', size: 1 }))
  await rig.advance(100)
  accepted(await runtime.volume(id).cancel())
  accepted(await runtime.volume(made.id).cancel())
  expect(endOf(await rig.until(queued.settled()))).toBe('available: cancelled')
  expect(endOf(await rig.until(made.settled()))).toBe('gone: cancelled')
  expect(await runtime.volume(id).cancel()).toMatchObject({ ok: false, found: 'available' })
  await expect(runtime.volume('nothing').cancel()).rejects.toMatchObject({ code: 'unknown_id' })
  runtime.node('h1').kill()
  await rig.advance(100)
  runtime.node('h1').start()
  await rig.advance(1_000)
  // Working: the abort ends it.
  rig.backend.hold()
  const working = accepted(await runtime.volume(id).extend({ size: 2 }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  accepted(await runtime.volume(id).cancel())
  expect(endOf(await rig.until(working.settled()))).toBe('error_extending: cancelled')
  // Working and deaf: a success that comes first wins.
  rig.backend.holdDeaf()
  const deaf = accepted(await runtime.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  accepted(await runtime.volume(id).cancel())
  await rig.advance(3_000)
  rig.backend.running()[0]!.finish()
  expect(endOf(await rig.until(deaf.settled()))).toBe('gone')
  expect(await runtime.volume(id).cancel()).toMatchObject({ ok: false, found: 'gone' })
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('an operation that kills its node every time ends in its failed status after three attempts, with their history', async () => {
  const rig = new FaultRig()
  const hosts = ['h1', 'h2', 'h3', 'h4', 'h5']
  const runtime = await rig.start({ nodes: hosts })
  const id = await rig.volume(runtime)
  const killed: string[] = []
  rig.backend.behave = (call) => {
    killed.push(call.host)
    runtime.node(call.host).kill()
    throw call.context.signal.reason
  }
  const settled = await rig.until(accepted(await runtime.volume(id).delete()).settled(), 120_000)
  expect(endOf(settled)).toBe('error_deleting: attempts_used_up')
  expect(new Set(killed).size).toBe(3)
  const story = settled.ok ? '' : settled.error.message
  for (const [i, host] of killed.entries()) expect(story).toContain(`${i + 1}. ${host}@file life 1`)
  await rig.advance(20_000)
  expect(runtime.nodes().filter(({ state }) => state === 'up')).toHaveLength(2)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a driver that answers after its claim was taken away by force changes nothing', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  const id = await rig.volume(runtime)
  rig.backend.holdDeaf()
  const extending = accepted(await runtime.volume(id).extend({ size: 2 }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  const [call] = rig.backend.running()
  accepted(await runtime.volume(id).reset_status({ status: 'available' }))
  await rig.advance(100)
  expect(call!.aborted_at).not.toBe(null)
  expect((await runtime.volume.get(id))!.status).toBe('available')
  const version = (await runtime.volume.get(id))!.version
  call!.finish({ size: 2 })
  await rig.advance(2_000)
  expect(await runtime.volume.get(id)).toMatchObject({ version, data: { size: 1 } } as Partial<ResourceRow>)
  expect((await rig.until(extending.settled())).row.status).toBe('available')
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a mark that the backend never answers does not keep its row for ever: the operation times out', async () => {
  const rig = new FaultRig()
  let hang = false
  const runtime = await rig.start({
    nodes: ['h1'],
    settings: { operation_timeout_ms: 10_000 },
    driver: { over: { fence: () => (hang ? new Promise(() => {}) : Promise.resolve()) } },
  })
  const id = await rig.volume(runtime)
  hang = true
  const e = accepted(await runtime.volume(id).extend({ size: 3 }))
  expect(endOf(await rig.until(e.settled()))).toBe('error_extending: timed_out')
  await rig.stop()
})

test('after a stop nothing is tried again, not even a mark that could not be raised', async () => {
  const rig = new FaultRig()
  let bad = false
  const runtime = await rig.start({
    nodes: ['h1'],
    driver: { over: { fence: () => (bad ? Promise.reject(new Error('no')) : Promise.resolve()) } },
  })
  const id = await rig.volume(runtime)
  rig.backend.behave = (call) => orAborted(call)
  accepted(await runtime.volume(id).extend({ size: 3 }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  bad = true
  await rig.until(runtime.stop({ within_ms: 0 }))
  await rig.advance(60_000)
  const n = rig.logs.length
  await rig.advance(60_000)
  expect(rig.logs.slice(n)).toEqual([])
})

test('a forced held row waits for the leftover call of its holder', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  const id = await rig.volume(runtime)
  const b = accepted(await runtime.backup.create({ name: 'b', volume_id: id }))
  await rig.until(b.settled())
  rig.backend.holdDeaf()
  accepted(await runtime.backup(b.id).restore({ volume_id: id }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  accepted(await runtime.volume(id).force_delete())
  await rig.advance(5000)
  expect(rig.backend.running().map((c) => c.operation)).toEqual(['restore'])
  rig.backend.running()[0]!.finish()
  await rig.advance(5000)
  expect(rig.backend.running().map((c) => c.operation)).toEqual(['force_delete'])
  await rig.stop()
})

test('an operation that holds a row waits for leftover calls on that row', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  const id = await rig.volume(runtime)
  rig.backend.holdDeaf()
  accepted(await runtime.volume(id).extend({ size: 9 }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  accepted(await runtime.volume(id).reset_status({ status: 'available' }))
  accepted(await runtime.backup.create({ name: 'b', volume_id: id }))
  await rig.advance(5000)
  expect(rig.backend.running().map((c) => c.operation)).toEqual(['extend'])
  rig.backend.running()[0]!.finish()
  await rig.advance(5000)
  expect(rig.backend.running().map((c) => c.operation)).toEqual(['create'])
  await rig.stop()
})
