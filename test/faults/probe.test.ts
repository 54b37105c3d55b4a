// A probe that is lost counts as a lost store: the node stops everything and its heartbeats, and comes back
// by itself, however long that takes. A driver that can't be set up is given up in time, and said so.

import { expect, test } from 'vitest'
import { defaultSettings } from '../../runtime/settings.ts'
import { accepted, endOf, FaultRig } from '../kit/fault_rig.ts'

const { down_after_ms } = defaultSettings

class LockManager {
  readonly name = 'lock manager'
  fate: 'here' | 'lost' | 'silent' = 'here'
  async check(): Promise<void> {
    if (this.fate === 'lost') throw new Error('no quorum')
    if (this.fate === 'silent') await new Promise(() => {})
  }
}

test.each(['lost', 'silent'] as const)(
  'a node whose probe is %s stops its work and its heartbeats, and comes back by itself',
  async (fate) => {
    const rig = new FaultRig()
    const probe = new LockManager()
    const node = (host: string) => ({
      cluster: 'ssd',
      backend: 'file',
      host,
      driver: rig.backend.driver(host),
      ...(host === 'h1' ? { probes: [probe] } : {}),
    })
    const runtime = await rig.start({ nodes: [node('h1'), node('h2')] })
    const id = await rig.volume(runtime)
    runtime.node('h2').drain()
    rig.backend.hold()
    const deleting = accepted(await runtime.volume(id).delete())
    const end = deleting.settled().then(endOf)
    await rig.untilSo(() => rig.backend.running().length === 1)
    const [call] = rig.backend.running()
    const lost_at = rig.environment.monotonic()
    probe.fate = fate
    await rig.untilSo(() => call!.aborted_at !== null)
    expect(call!.aborted_at! - lost_at).toBeLessThan(down_after_ms)
    await rig.advance(down_after_ms)
    const counter = rig.ledger.beat('h1@file')!.counter
    await rig.advance(120_000)
    expect(rig.ledger.beat('h1@file')!.counter).toBe(counter)
    probe.fate = 'here'
    rig.backend.behave = () => undefined
    expect(await rig.until(end)).toBe('gone')
    await rig.advance(down_after_ms)
    expect(runtime.nodes().find(({ host }) => host === 'h1')).toMatchObject({ state: 'up', given_up: null })
    expect(rig.violations()).toEqual([])
    await rig.stop()
  },
)

test('a driver that cannot be set up is given up after the restart intensity, the others work, and an administrator starts it', async () => {
  const rig = new FaultRig()
  let broken = true
  let tries = 0
  const driver = rig.backend.driver('h1', {
    over: {
      setup: async () => {
        tries++
        if (broken) throw new Error('no such pool')
      },
    },
  })
  const runtime = await rig.start({
    nodes: [{ cluster: 'ssd', backend: 'file', host: 'h1', driver }, 'h2'],
    settings: { restarts: 3 },
  })
  await rig.volume(runtime)
  await rig.advance(5_000)
  expect(tries).toBe(4)
  const view = () => runtime.nodes().find(({ host }) => host === 'h1')
  expect(view()?.given_up).toContain('no such pool')
  await rig.advance(120_000)
  expect(tries).toBe(4)
  expect(view()).toMatchObject({ state: 'down', cleanup_done: true, here: null })
  broken = false
  runtime.node('h1').start()
  await rig.advance(1_000)
  expect(view()).toMatchObject({ state: 'up', given_up: null, here: { state: 'up' } })
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a driver set-up that never settles fails the start after the operation timeout, and is told so by its signal', async () => {
  const rig = new FaultRig()
  const signals: AbortSignal[] = []
  const driver = rig.backend.driver('h1', {
    over: {
      setup: (setup) => {
        signals.push(setup.signal)
        return new Promise(() => {})
      },
    },
  })
  const runtime = await rig.start({
    nodes: [{ cluster: 'ssd', backend: 'file', host: 'h1', driver }, 'h2'],
    settings: { operation_timeout_ms: 20_000, restarts: 1 },
  })
  await rig.advance(60_000)
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, true])
  expect(runtime.nodes().map(({ host, given_up }) => [host, given_up !== null])).toEqual([
    ['h1', true],
    ['h2', false],
  ])
  await rig.volume(runtime)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})
