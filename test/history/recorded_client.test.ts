// The live runtime under concurrent recorded clients: its histories are linearizable, and those of a runtime
// whose accepts write blindly, or whose reads lag behind, are not.

import { expect, test } from 'vitest'
import type { StoredRow, StoreSource } from '../../store/store.ts'
import { accepted, FaultRig, Gate, only, overlay, standardTypes } from '../kit/fault_rig.ts'
import { History, recordedClient } from '../kit/history.ts'
import { writesBlindly } from '../kit/sabotage.ts'

/** Whatever happens later has a higher number: one thread does everything. */
function newHistory(): History {
  let events = 0
  return new History(() => ++events)
}

test('what concurrent clients of two processes are told is linearizable, through a crash', async () => {
  const rig = new FaultRig({ shared: true })
  const history = newHistory()
  const p1 = await rig.start({ nodes: ['h1'] })
  const p2 = await rig.start({ name: 'p2', nodes: ['h2'] })
  const clients = [p1, p2, p1, p2].map((runtime, index) =>
    recordedClient(runtime, history, `client ${index + 1}`),
  )
  const [first] = clients
  const id = accepted(await rig.until(first!.accept('volume', null, 'create', { name: 'v', size: 1 }))).id
  await rig.advance(1_000)
  for (let round = 1; round <= 12; round++) {
    const answers = clients.flatMap((client, index) => [
      client.accept('volume', id, 'extend', { size: 10 * round + index }),
      client.get('volume', id),
      client.accept('backup', null, 'create', { name: 'b', volume_id: id }),
    ])
    if (round === 6) p1.node('h1').kill()
    await rig.until(Promise.all(answers))
    await rig.advance(round === 6 ? 20_000 : 300)
    if (round % 4 === 0) await rig.until(clients[round % 3]!.cancel('volume', id))
  }
  await rig.until(clients[3]!.accept('volume', id, 'force_delete'))
  await rig.advance(1_000)
  await rig.until(Promise.all(clients.map((client) => client.get('volume', id))))
  const verdict = history.check(standardTypes)
  expect(verdict.verdict === 'not_linearizable' ? verdict.explanation : verdict.verdict).toBe('linearizable')
  // Accepts won and lost, and ends were told.
  const types = (type: string) => history.calls.filter(({ answer }) => answer?.type === type).length
  expect(types('refused')).toBeGreaterThan(12)
  expect(types('row')).toBeGreaterThan(48)
  expect(history.calls.some(({ asked }) => asked.type === 'settled')).toBe(true)
  await rig.stop()
})

test('a request that is made again counts once, whichever of its calls was answered', async () => {
  const rig = new FaultRig()
  const p1 = await rig.start()
  const history = newHistory()
  const client = recordedClient(p1, history, 'client 1')
  const create = () => client.accept('volume', null, 'create', { name: 'v', size: 1 }, { request_id: 'r1' })
  const { id } = accepted(await rig.until(create()))
  await rig.advance(1_000)
  expect(accepted(await rig.until(create()))).toMatchObject({ id, repeated: true })
  // A second one, whose first answer is lost.
  const lost = {
    ...p1,
    accept: (...args: Parameters<typeof p1.accept>) => {
      void p1.accept(...args)
      return new Promise<never>(() => {})
    },
  }
  const remove = [id, 'delete', undefined, { request_id: 'r2' }] as const
  void recordedClient(lost, history, 'client 2').accept('volume', ...remove)
  await rig.advance(1_000)
  expect(accepted(await rig.until(client.accept('volume', ...remove)))).toMatchObject({ repeated: true })
  await rig.until(client.get('volume', id))
  expect(history.check(standardTypes).verdict).toBe('linearizable')
  const accepts = history.calls.filter(({ asked }) => asked.type === 'accept')
  expect(accepts.map(({ answer }) => answer?.type)).toEqual(['row', 'accepted'])
  await rig.stop()
})

test('accepts that write blindly are found', async () => {
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
  const blind = writesBlindly(
    (actor) => actor === 'api',
    (row) => 'fence' in row,
  )
  const p1 = await rig.start({ seams: { storeFor: (actor, store) => blind(actor, slow(actor, store)) } })
  const id = await rig.volume(p1)
  const history = newHistory()
  const clients = ['client 1', 'client 2'].map((name) => recordedClient(p1, history, name))
  writing.shut()
  const answers = Promise.all([
    clients[0]!.accept('volume', id, 'extend', { size: 2 }),
    clients[1]!.accept('volume', id, 'delete'),
  ])
  await rig.untilSo(() => writing.waiting === 2)
  writing.open()
  await rig.until(answers)
  const verdict = history.check(standardTypes)
  expect(verdict.verdict === 'not_linearizable' && verdict.explanation).toMatch(
    /volume\/\S+: no order of these calls explains the answer/,
  )
  await rig.stop()
})

test('a process that answers from a stale copy is found', async () => {
  const rig = new FaultRig({ shared: true })
  const p1 = await rig.start({ nodes: ['h1'] })
  const stale = new Map<string, StoredRow>()
  const lagging: StoreSource = {
    name: 'lagging',
    open: async () => {
      const store = await rig.source.open()
      return overlay(store, { get: async (key) => stale.get(key) ?? store.get(key) })
    },
  }
  const p2 = await rig.start({ name: 'p2', nodes: ['h2'], source: lagging })
  const history = newHistory()
  const [one, other] = [recordedClient(p1, history, 'client 1'), recordedClient(p2, history, 'client 2')]
  const id = accepted(await rig.until(one.accept('volume', null, 'create', { name: 'v', size: 1 }))).id
  await rig.advance(1_000)
  const old = await rig.until(p1.get('volume', id))
  accepted(await rig.until(one.accept('volume', id, 'extend', { size: 2 })))
  stale.set(`volume/${id}`, old as unknown as StoredRow)
  await rig.until(other.get('volume', id))
  stale.clear()
  const verdict = history.check(standardTypes)
  expect(
    verdict.verdict === 'not_linearizable' && verdict.explanation.replaceAll(id, 'ID'),
  ).toMatchInlineSnapshot(`
    "volume/ID: no order of these calls explains the answer of #5.
    Each stands with the time it was asked and the time it was answered; calls whose times overlap or touch
    may stand in any order, and one without an answer may have taken effect or not.
      #3 client 1 asks extend [4 .. 5]: accepted, version 4 extending (extend accepted at version 4)
    > #5 client 2 read [7 .. 8]: version 3 available
    Before #5 the row was: version 4 extending (extend accepted at version 4), or on its way to an end."
  `)
  await rig.stop()
})
