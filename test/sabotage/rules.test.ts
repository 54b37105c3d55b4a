// The test of the tests: each scenario runs twice, with its rule on and with its rule switched off from
// outside. On, no invariant of the protocol is broken; off, the one named is. A scenario whose second run
// finds nothing proves nothing.

import { describe, expect, test } from 'vitest'
import { Mailbox } from '../../runtime/mailbox.ts'
import type { Seams } from '../../runtime/options.ts'
import type { Key, StoreSource } from '../../store/store.ts'
import {
  accepted,
  beatsThrough,
  chain,
  FaultRig,
  Gate,
  only,
  overlay,
  standardTypes,
  type Violation,
} from '../kit/fault_rig.ts'
import * as off from '../kit/sabotage.ts'

type Scenario = (sabotage: boolean) => Promise<readonly Violation[]>
type StoreFor = NonNullable<Seams['storeFor']>

const asIs: StoreFor = (_, store) => store
const heldBeats = (gate: Gate): StoreFor => only('h1@file', (store) => beatsThrough(gate, store))

/** A process that is cut off hears nothing of what others commit. */
const deafTo = (gate: Gate, source: StoreSource): StoreSource => ({
  name: source.name,
  open: async () => {
    const store = await source.open()
    return overlay(store, {
      watch: (from, listener) => store.watch(from, (commit) => !gate.isShut && listener(commit)),
    })
  },
})

/** Everything that must hold once the faults have stopped and time has passed. */
async function judged(rig: FaultRig): Promise<readonly Violation[]> {
  rig.backend.behave = () => undefined
  for (const call of rig.backend.running()) call.finish()
  await rig.advance(60_000)
  const found = rig.violations()
  await rig.stop()
  return found
}

/** A zombie of another process finishes what the next node has by now. Its backend refuses the old mark. */
const lateFinish: Scenario = async (sabotage) => {
  const rig = new FaultRig({ shared: true })
  const beats = new Gate()
  const types = sabotage ? off.anyoneFinishes() : standardTypes
  const p1 = await rig.start({
    nodes: ['h1'],
    driver: { fences: true },
    types,
    seams: { charts: { node: off.neverFences() }, storeFor: heldBeats(beats) },
  })
  const id = await rig.volume(p1)
  rig.backend.holdDeaf()
  accepted(await p1.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  const [zombie] = rig.backend.running()
  await rig.start({ name: 'p2', nodes: ['h2'], driver: { fences: true }, types })
  beats.shut()
  await rig.untilSo(() => rig.backend.running().length === 2)
  zombie!.finish()
  await rig.advance(1_000)
  beats.open()
  return judged(rig)
}

/** A node is killed and started again; a scheduler of another process still looks for what its first life left. */
const fastRestart: Scenario = async (sabotage) => {
  const rig = new FaultRig({ shared: true })
  const types = sabotage ? off.livesAreAlike() : standardTypes
  const seams = { storeFor: sabotage ? off.listsEveryLife : asIs }
  const p1 = await rig.start({ nodes: ['h1'], types, seams })
  const id = await rig.volume(p1)
  p1.node('h1').kill()
  p1.node('h1').start()
  await rig.untilSo(() => rig.ledger.service('h1@file')!.incarnation === 2)
  await rig.untilSo(() => rig.ledger.service('h1@file')!.state === 'up')
  rig.backend.hold()
  accepted(await p1.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  await rig.start({ name: 'p2', nodes: ['h2'], types, seams })
  await rig.advance(5_000)
  return judged(rig)
}

class LosesTheFirst extends Mailbox {
  #lost = 0
  override put(key: Key): void {
    if (this.#lost++ > 0) super.put(key)
  }
}

/** The only doorbell of an accepted operation is lost. */
const lostDoorbell: Scenario = async (sabotage) => {
  const rig = new FaultRig()
  const p1 = await rig.start({
    seams: {
      mailboxFor: (_, capacity) => new LosesTheFirst(capacity),
      storeFor: sabotage ? off.seesNoQueue : asIs,
    },
  })
  accepted(await p1.volume.create({ name: 'v', size: 1 }))
  return judged(rig)
}

/** A doorbell comes twice, the second time when the row asks for something else. */
const staleDoorbell: Scenario = async (sabotage) => {
  const rig = new FaultRig()
  const messages = off.messagesCarryRows(rig.ledger.rows)
  const doorbells: Mailbox[] = []
  class Notes extends Mailbox {
    override put(key: Key): void {
      messages.post(key)
      super.put(key)
    }
  }
  const p1 = await rig.start({
    seams: {
      mailboxFor: (_, capacity) => {
        doorbells.push(new Notes(capacity))
        return doorbells.at(-1)!
      },
      storeFor: sabotage ? messages.storeFor : asIs,
    },
  })
  const id = await rig.volume(p1)
  doorbells[0]!.put(`volume/${id}`)
  await rig.advance(500)
  rig.backend.hold()
  await p1.volume(id).delete()
  doorbells[0]!.put(`volume/${id}`)
  await rig.advance(1_000)
  return judged(rig)
}

/** Heartbeats resume after a node was declared down and its rows were cleaned; later its process dies. */
const heartbeatsResume: Scenario = async (sabotage) => {
  const rig = new FaultRig({ shared: true })
  const beats = new Gate()
  const p1 = await rig.start({
    nodes: ['h1'],
    seams: {
      charts: { node: off.neverFences() },
      storeFor: chain(heldBeats(beats), sabotage ? off.goesOnAsItWas : asIs),
    },
  })
  const id = await rig.volume(p1)
  await rig.start({ name: 'p2', nodes: ['h2'] })
  beats.shut()
  const isCleaned = () => {
    const service = rig.ledger.service('h1@file')!
    return service.state === 'down' && service.cleaned_incarnation === service.incarnation
  }
  await rig.untilSo(isCleaned)
  beats.open()
  await rig.advance(5_000)
  rig.backend.hold()
  accepted(await p1.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  await rig.until(p1.stop({ within_ms: 0 }))
  return judged(rig)
}

/** A scheduler is slow to write that a life is cleaned; by then the next life is down as well. */
const slowClose: Scenario = async (sabotage) => {
  const rig = new FaultRig({ shared: true })
  const closing = new Gate()
  const slow = only('scheduler 2', (store) =>
    overlay(store, {
      transact: async (expect, changes) => {
        const [change] = changes
        if (
          change !== undefined &&
          'put' in change &&
          change.put.kind === 'service' &&
          change.put.cleaned_incarnation === change.put.incarnation
        )
          await closing.pass()
        return store.transact(expect, changes)
      },
    }),
  )
  const p1 = await rig.start({
    nodes: ['h1'],
    seams: { storeFor: chain(slow, sabotage ? off.closesBlindly : asIs) },
  })
  const id = await rig.volume(p1)
  closing.shut()
  p1.node('h1').kill()
  await rig.untilSo(() => closing.waiting === 1)
  await rig.advance(1_500)
  p1.node('h1').start()
  await rig.untilSo(() => rig.ledger.service('h1@file')!.state === 'up')
  rig.backend.hold()
  accepted(await p1.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  p1.node('h1').kill()
  await rig.untilSo(() => rig.ledger.service('h1@file')!.state === 'down')
  closing.open()
  await rig.advance(5_000)
  rig.backend.behave = () => undefined
  await rig.start({ name: 'p2', nodes: ['h2'] })
  return judged(rig)
}

/** Two callers ask for two operations of one resource at the same moment. */
const twoAccepts: Scenario = async (sabotage) => {
  const rig = new FaultRig()
  const writing = new Gate()
  const slow = only('api', (store) =>
    overlay(store, {
      transact: async (expect, changes) => {
        await writing.pass()
        return store.transact(expect, changes)
      },
    }),
  )
  const blind = off.writesBlindly(
    (actor) => actor === 'api',
    (row) => 'fence' in row,
  )
  const p1 = await rig.start({ seams: { storeFor: chain(slow, sabotage ? blind : asIs) } })
  const id = await rig.volume(p1)
  // Both have read the row before either writes.
  writing.shut()
  const asked = Promise.all([p1.volume(id).extend({ size: 2 }), p1.volume(id).delete()])
  await rig.untilSo(() => writing.waiting === 2)
  writing.open()
  const answers = await asked
  if (!sabotage) expect(answers.filter(({ ok }) => ok)).toHaveLength(1)
  return judged(rig)
}

/** A node is paused; its driver obeys its signal, and nothing at the backend refuses anybody. */
const pausedNode: Scenario = async (sabotage) => {
  const rig = new FaultRig({ shared: true })
  const beats = new Gate()
  const p1 = await rig.start({
    nodes: ['h1'],
    source: deafTo(beats, rig.source),
    seams: {
      storeFor: heldBeats(beats),
      ...(sabotage ? { charts: { node: off.neverFences() } } : {}),
    },
  })
  const id = await rig.volume(p1)
  rig.backend.hold()
  accepted(await p1.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  await rig.start({ name: 'p2', nodes: ['h2'] })
  beats.shut()
  await rig.advance(20_000)
  beats.open()
  return judged(rig)
}

/** Fifty rows of a process that died are handed back at once, into a mailbox for three. */
const fullMailbox: Scenario = async (sabotage) => {
  const rig = new FaultRig({ shared: true })
  const settings = { mailbox: 3, concurrency: 50 }
  const first = await rig.start({ nodes: ['h1'], settings })
  const ids: string[] = []
  for (let i = 0; i < 50; i++) ids.push(await rig.volume(first, `v${i}`))
  rig.backend.hold()
  await Promise.all(ids.map((id) => first.volume(id).delete()))
  await rig.untilSo(() => rig.backend.running().length === 50)
  await rig.until(first.stop({ within_ms: 0 }))
  rig.backend.behave = () => undefined
  const mailboxes: Mailbox[] = []
  const starting = rig.start({
    name: 'p2',
    nodes: ['h1'],
    settings: { ...settings, concurrency: 1 },
    seams: {
      mailboxFor: (_, capacity) => {
        mailboxes.push(new Mailbox(capacity))
        return mailboxes.at(-1)!
      },
      storeFor: sabotage ? off.sendsBlock(() => mailboxes[0]!, rig.environment) : asIs,
    },
  })
  await starting.catch(() => {})
  return judged(rig)
}

/** A second node is started with the host of one that is up and works. */
const sameHost: Scenario = async (sabotage) => {
  const rig = new FaultRig({ shared: true })
  const p1 = await rig.start({ nodes: ['h1'] })
  const id = await rig.volume(p1)
  rig.backend.holdDeaf()
  accepted(await p1.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  const second = rig.start({
    name: 'p2',
    nodes: ['h1'],
    seams: { storeFor: sabotage ? off.believesItIsAlone : asIs },
  })
  if (sabotage) await second
  else await expect(second).rejects.toMatchObject({ code: 'node_running' })
  await rig.advance(1_000)
  return judged(rig)
}

/** A cluster named as its first host: `cluster@backend` and `host@backend` are one text. */
const clusterIsHost: Scenario = async (sabotage) => {
  const rig = new FaultRig()
  const p1 = await rig.start({
    cluster: 'h1',
    nodes: ['h1', 'h2'],
    // With a mark at the backend, no call of this process keeps a second claim away (rule R18).
    driver: { fences: true },
    seams: { storeFor: sabotage ? off.workerTextTells : asIs },
  })
  const ids = await Promise.all([...'abcd'].map((name) => rig.volume(p1, name)))
  rig.backend.hold()
  for (const id of ids) accepted(await p1.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 4)
  await rig.advance(5_000)
  return judged(rig)
}

/** A call does not settle after its abort, and nothing at the backend can stop it. */
const leftoverCall: Scenario = async (sabotage) => {
  const rig = new FaultRig()
  // Off: the driver claims that it can fence, and does nothing.
  const driver = sabotage ? { over: { fence: async () => {} } } : {}
  const p1 = await rig.start({ driver, settings: { operation_timeout_ms: 5_000, abort_grace_ms: 1_000 } })
  const id = await rig.volume(p1)
  rig.backend.holdDeaf()
  accepted(await p1.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  await rig.advance(10_000)
  await p1.volume(id).delete()
  await rig.advance(10_000)
  return judged(rig)
}

/** The same, and its node is killed. */
const leftoverOfAKilledNode: Scenario = async (sabotage) => {
  const rig = new FaultRig()
  const driver = sabotage ? { over: { fence: async () => {} } } : {}
  const p1 = await rig.start({ driver })
  const id = await rig.volume(p1)
  rig.backend.holdDeaf()
  accepted(await p1.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  p1.node(rig.backend.running()[0]!.host).kill()
  await rig.advance(30_000)
  return judged(rig)
}

const scenarios: readonly [rule: string, title: string, invariant: string, scenario: Scenario][] = [
  ['R1', 'a late finish is refused', 'finish_by_owner', lateFinish],
  ['R2', 'a claim of the next life is not cleaned', 'cleaned_only_if_gone', fastRestart],
  ['R3', 'a lost doorbell loses no operation', 'all_at_rest', lostDoorbell],
  ['R4', 'a node runs what the row asks for', 'op_matches_row', staleDoorbell],
  ['R5', 'down is for the rest of that life', 'all_at_rest', heartbeatsResume],
  ['R6', 'cleanup_done is for the life that was cleaned', 'all_at_rest', slowClose],
  ['R7', 'one of two accepts at once is refused', 'accept_at_rest', twoAccepts],
  ['R8', 'a paused node aborts before others may clean', 'one_worker', pausedNode],
  ['R9', 'a full mailbox holds up nobody', 'all_at_rest', fullMailbox],
  ['R11', 'one life of a host at a time', 'one_worker', sameHost],
  ['R17', 'queued is told from taken', 'one_worker', clusterIsHost],
  ['R18', 'a call that has not settled holds its resource', 'one_worker', leftoverCall],
  ['R18', 'a call of a killed node holds its resource', 'one_worker', leftoverOfAKilledNode],
]

describe.each(scenarios)('%s: %s', (_rule, _title, invariant, scenario) => {
  test('with the rule on, every invariant holds', async () => {
    expect(await scenario(false)).toEqual([])
  })

  test(`with the rule off, ${invariant} is broken`, async () => {
    const violations = await scenario(true)
    expect(violations).not.toEqual([])
    expect(violations.map((violation) => violation.invariant)).toContain(invariant)
  })
})
