// Renaming a cluster (rule R16): everything that carries the old name carries the new one, in batches that a
// crash may cut anywhere and that accepts, claims and finishes may race; and what still comes late moves too.

import { describe, expect, test } from 'vitest'
import type { ResourceRow } from '../../machines/row.ts'
import type { StoredRow } from '../../store/store.ts'
import { accepted, ControlledDriver, clusterings, expectAtRest, type Process, World } from '../kit/rig.ts'

const settings = { concurrency: 4 }

/** Everything that still carries a topic, as text: nothing is overlooked for being in an odd field. */
async function carriersOf(world: World, topic: string): Promise<string[]> {
  const all = (
    await Promise.all(['volume', 'snapshot', 'backup', 'service'].map((kind) => world.rows(kind)))
  ).flat()
  // Where a worker's own address is the same text, it is no topic (rule R17).
  const topicsOf = (row: StoredRow) => {
    const { operation, incarnation } = row as unknown as ResourceRow
    const history = operation?.history?.map((one) => ({ ...one, worker: null }))
    return {
      ...row,
      ...{ error: null, operation: operation == null ? null : { ...operation, history } },
      ...(typeof incarnation === 'number' && { worker: null }),
    }
  }
  return all
    .filter((row) =>
      [`"${topic}"`, `"${topic}@`].some((text) => JSON.stringify(topicsOf(row)).includes(text)),
    )
    .map(({ kind, id }) => `${kind}/${id}`)
}

describe.each(clusterings)('A cluster that is renamed, $clustering', ({ cluster }) => {
  const from = `${cluster}@file`
  const to = 'nvme@file'

  /** A cluster whose nodes have gone, with volumes at rest, queued, and taken by a node that went down. */
  async function begin() {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver({ fences: true })
    const api = await world.start({ nodes: [], driver })
    const node = await world.start({ nodes: [{ host: 'h1' }, { host: 'h2' }], cluster, driver, settings })
    const create = async (name: string) =>
      accepted(await api.runtime.volume.create({ name, size: 1 }, { cluster: from })).id
    const resting = await create('resting')
    await world.until(() => driver.open.length === 1)
    driver.open[0]!.done()
    await world.rest('volume', resting)
    const snapshot = accepted(await api.runtime.snapshot.create({ name: 's', volume_id: resting })).id
    await world.until(() => driver.open.length === 1)
    driver.open[0]!.done()
    await world.rest('snapshot', snapshot)
    const taken = await create('taken')
    await world.until(() => driver.open.length === 1)
    return { world, driver, api, node, create, resting, snapshot, taken }
  }

  const rename = (process: Process) => process.runtime.admin.renameCluster(from, to)

  async function goneNodes(world: World, node: Process) {
    await node.crash()
    await world.environment.advance(20_000)
  }

  test('keeps all it has: at rest, queued and being cleaned; its nodes start under the new name and take it', async () => {
    const { world, driver, api, node, create, resting, snapshot, taken } = await begin()
    await goneNodes(world, node)
    const queued = await create('queued')
    expect(await api.runtime.admin.renameCluster(from, to, { dry_run: true })).toEqual({
      ok: true,
      renaming: { from, to, rows: { volume: 3, snapshot: 1 }, nodes: ['h1', 'h2'], done: false },
    })
    expect((await world.row('volume', queued)).cluster).toBe(from)
    const before = await world.row('volume', taken)
    expect(await world.environment.until(rename(api))).toEqual({
      ok: true,
      renaming: { from, to, rows: {}, nodes: [], done: true },
    })
    expect(await carriersOf(world, from)).toEqual([])
    expect(await world.row('volume', queued)).toMatchObject({ cluster: to, worker: to, incarnation: null })
    expect(await world.row('volume', taken)).toMatchObject({
      cluster: to,
      fence: before.fence,
      data: before.data,
    })
    expect((await api.runtime.clusters()).map(({ topic, nodes }) => [topic, nodes])).toEqual([
      [to, ['h1', 'h2']],
    ])
    driver.auto = true
    await world.start({ nodes: [{ host: 'h1' }, { host: 'h2' }], cluster: 'nvme', driver })
    // Its incarnations go on.
    expect(await world.service('h1')).toMatchObject({ cluster: 'nvme', incarnation: 2 })
    expectAtRest(await world.rest('volume', queued), 'available')
    expectAtRest(await world.rest('volume', taken), 'error')
    accepted(await api.runtime.snapshot(snapshot).delete())
    expectAtRest(await world.rest('snapshot', snapshot), 'gone')
    accepted(await api.runtime.volume(resting).delete({}))
    expectAtRest(await world.rest('volume', resting), 'gone')
  })

  test('is refused while nodes run under the old name, and says which; a node of the old name is refused after', async () => {
    const { world, driver, api, node } = await begin()
    expect(await rename(api)).toMatchObject({
      ok: false,
      resource: { kind: 'cluster', id: from },
      found: 'h1 is up, h2 is up',
    })
    await goneNodes(world, node)
    await world.environment.until(rename(api))
    await expect(world.start({ nodes: [{ host: 'h1' }], cluster, driver })).rejects.toMatchObject({
      code: 'bad_settings',
      message: expect.stringContaining(`${from} was renamed to ${to}: give this node the cluster 'nvme'`),
    })
    await expect(api.runtime.admin.freezeCluster(from)).rejects.toThrow(`it was renamed to ${to}`)
    await expect(api.runtime.volume.create({ name: 'x', size: 1 }, { cluster: from })).rejects.toThrow(
      `it was renamed to ${to}`,
    )
    // Done, it is answered again; the name may be used anew once the old row is removed.
    expect(await rename(api)).toMatchObject({ ok: true, renaming: { done: true } })
    expect(await api.runtime.admin.removeCluster(from)).toMatchObject({ ok: true })
    await world.start({ nodes: [{ host: 'h3' }], cluster, driver })
  })

  test('refuses a node of the old name that registered while it was being marked', async () => {
    const { world, driver, api, node } = await begin()
    await goneNodes(world, node)
    let raced = 0
    world.fault = ({ actor, method, changes }) => {
      const registers = changes.some((change) => 'put' in change && change.put.kind === 'service')
      if (actor !== 'h3@file' || method !== 'transact' || !registers || raced++ > 0) return undefined
      return rename(api).then(() => {})
    }
    await expect(world.start({ nodes: [{ host: 'h3' }], cluster, driver })).rejects.toMatchObject({
      code: 'bad_settings',
    })
    expect(raced).toBe(1)
    expect(await world.service('h3')).toBeUndefined()
  })

  test('is renamed all the same by the sweeps of any process, whichever of its swaps a crash came before', async () => {
    for (let swaps = 0; ; swaps++) {
      const { world, api, node, create } = await begin()
      await goneNodes(world, node)
      await create('queued')
      let seen = 0
      world.fault = ({ actor, method }) =>
        actor === 'renamer' && method === 'transact' && ++seen > swaps ? 'hangs' : undefined
      let isAnswered = false
      void rename(api).then(() => {
        isAnswered = true
      })
      await world.environment.settle()
      await api.crash()
      world.fault = () => undefined
      if (isAnswered) {
        expect(swaps).toBeGreaterThanOrEqual(4)
        break
      }
      const other = await world.start({ nodes: [] })
      await world.until(async () => (await carriersOf(world, from)).length === 0)
      await world.until(async () => {
        const answer = await other.runtime.admin.renameCluster(from, to, { dry_run: true })
        return answer.ok && answer.renaming.done
      })
    }
  })

  test('takes along what is accepted for it meanwhile, before a batch or after the last one', async () => {
    const { world, driver, api, node, create, resting } = await begin()
    await goneNodes(world, node)
    let raced = 0
    // The batch has read the volume at rest; an extend is accepted before its swap.
    world.fault = ({ actor, method }) => {
      if (actor !== 'renamer' || method !== 'transact' || raced++ > 0) return undefined
      return api.runtime
        .volume(resting)
        .extend({ size: 2 })
        .then(() => {})
    }
    expect(await world.environment.until(rename(api))).toMatchObject({ ok: true, renaming: { done: true } })
    expect(await world.row('volume', resting)).toMatchObject({ status: 'extending', cluster: to, worker: to })
    // A call that chose its place long ago makes its row only now.
    const late = {
      ...(await world.row('volume', resting)),
      id: 'late',
      cluster: from,
      worker: from,
      version: 0,
    }
    await world.put(late)
    await world.until(async () => (await world.row('volume', 'late')).cluster === to)
    expect(await world.row('volume', 'late')).toMatchObject({ worker: to })
    driver.auto = true
    await world.start({ nodes: [{ host: 'h3' }], cluster: 'nvme', driver })
    expectAtRest(await world.rest('volume', resting), 'available')
    expectAtRest(await world.rest('volume', 'late'), 'available')
    void create
  })

  test('takes along a snapshot whose volume moved while it was being accepted', async () => {
    const { world, api, node, resting } = await begin()
    await goneNodes(world, node)
    let raced = 0
    world.fault = ({ actor, method, changes }) => {
      const isAccept = changes.some((change) => 'put' in change && change.put.kind === 'snapshot')
      if (actor !== 'api' || method !== 'transact' || !isAccept || raced++ > 0) return undefined
      return rename(api).then(() => {})
    }
    const answer = api.runtime.snapshot.create({ name: 'late', volume_id: resting })
    expect(accepted(await world.environment.until(answer)).row).toMatchObject({ cluster: to, worker: to })
    // Conflicted, and made anew where its volume is.
    expect(raced).toBe(2)
  })

  test('may be claimed from and finished under the new name while it moves', async () => {
    const { world, driver, api, node, create } = await begin()
    await goneNodes(world, node)
    const ids = [await create('a'), await create('b'), await create('c')]
    driver.auto = true
    // A node of the new name runs already, as after a restart with a new configuration.
    await world.start({ nodes: [{ host: 'h1' }], cluster: 'nvme', driver, settings })
    expect(world.logs.some((line) => line.includes(`rekindle cluster rename ${from} ${to} moves them`))).toBe(
      true,
    )
    expect(await world.environment.until(rename(api))).toMatchObject({ ok: true, renaming: { done: true } })
    for (const id of ids) expectAtRest(await world.rest('volume', id), 'available')
    expect(await carriersOf(world, from)).toEqual([])
  })

  test('moves no row before what the backend keeps under the old name has moved', async () => {
    const { world, api, node, create } = await begin()
    await goneNodes(world, node)
    const id = await create('a')
    const asked: string[][] = []
    let isReady = false
    const mover = await world.start({
      nodes: [],
      renamed: async (...names) => {
        asked.push(names)
        if (!isReady) throw new Error('the folder is busy')
      },
    })
    world.fault = ({ actor, method }) =>
      actor === 'renamer' && method === 'transact' && asked.length === 0 ? 'refuses' : undefined
    await api.crash()
    await expect(world.environment.until(rename(mover))).rejects.toThrow('the folder is busy')
    expect((await world.row('volume', id)).cluster).toBe(from)
    isReady = true
    await world.until(async () => (await world.row('volume', id)).cluster === to)
    expect(asked.length).toBeGreaterThan(1)
    expect(asked.every(([old, now]) => old === from && now === to)).toBe(true)
  })
})

test('what a migration left at a renamed cluster is released there under the new name', async () => {
  const world = new World({ exclusive: false })
  const driver = new ControlledDriver()
  const api = await world.start({ nodes: [], driver })
  const old = await world.start({ nodes: [{ host: 'h1' }], cluster: 'old', driver })
  await world.start({ nodes: [{ host: 'h2' }], cluster: 'other', driver })
  const { id } = accepted(await api.runtime.volume.create({ name: 'a', size: 1 }, { cluster: 'other@file' }))
  await world.until(() => driver.open.length === 1)
  driver.open[0]!.done()
  const row = await world.rest('volume', id)
  await old.crash()
  await world.environment.advance(20_000)
  await world.put({ ...row, status: 'error_releasing', data: { ...row.data, migrated_from: 'old@file' } })
  const { id: second } = accepted(await api.runtime.volume(id).release_source())
  expect(await world.row('volume', second)).toMatchObject({ worker: 'old@file', cluster: 'other@file' })
  const resting = { ...row, id: 'resting', status: 'error_releasing', data: { migrated_from: 'old@file' } }
  await world.put(resting)
  const renamed = api.runtime.admin.renameCluster('old@file', 'new@file')
  expect(await world.environment.until(renamed)).toMatchObject({ ok: true, renaming: { done: true } })
  expect(await world.row('volume', id)).toMatchObject({
    cluster: 'other@file',
    worker: 'new@file',
    operation: { topic: 'new@file' },
    data: { migrated_from: 'new@file' },
  })
  expect(await world.row('volume', 'resting')).toMatchObject({ data: { migrated_from: 'new@file' } })
  driver.auto = true
  await world.start({ nodes: [{ host: 'h1' }], cluster: 'new', driver })
  expectAtRest(await world.rest('volume', id), 'available')
})

describe('A name', () => {
  const two = async () => {
    const world = new World()
    const driver = new ControlledDriver({ auto: true })
    const nodes = [
      { host: 'h1', cluster: 'one' },
      { host: 'h2', cluster: 'two' },
    ]
    const { runtime } = await world.start({ nodes, driver })
    for (const cluster of ['one@file', 'two@file']) {
      const { id } = accepted(await runtime.volume.create({ name: 'a', size: 1 }, { cluster }))
      await world.rest('volume', id)
    }
    runtime.node('h1').kill()
    await world.environment.advance(20_000)
    return { world, runtime }
  }

  test('that has rows of its own is refused, unless both are said to be of the same backend', async () => {
    const { world, runtime } = await two()
    const rename = (merge: boolean) =>
      world.environment.until(runtime.admin.renameCluster('one@file', 'two@file', { merge }))
    expect(await rename(false)).toMatchObject({
      ok: false,
      message: expect.stringContaining('has 1 rows of its own'),
    })
    expect(await rename(true)).toMatchObject({ ok: true })
    expect((await runtime.volume.list({ cluster: 'two@file' })).rows.length).toBe(2)
  })

  test('that is frozen where the other is not is refused: no delete is let through by a renaming', async () => {
    const { runtime } = await two()
    await runtime.admin.freezeCluster('one@file', 'an audit')
    expect(await runtime.admin.renameCluster('one@file', 'two@file', { merge: true })).toMatchObject({
      ok: false,
      message: expect.stringContaining('one@file is frozen (an audit) and two@file is not'),
    })
  })

  test('that is new is frozen and disabled as the old one was', async () => {
    const { world, runtime } = await two()
    await runtime.admin.freezeCluster('one@file', 'an audit')
    await runtime.admin.disableCluster('one@file')
    await world.environment.until(runtime.admin.renameCluster('one@file', 'three@file'))
    expect((await runtime.clusters()).find(({ topic }) => topic === 'three@file')).toMatchObject({
      ...{ frozen: true, frozen_reason: 'an audit', disabled: true },
    })
    const [row] = (await runtime.volume.list({ cluster: 'three@file' })).rows
    expect(await runtime.volume(row!.id).delete({})).toMatchObject({ ok: false, guard: 'isThawed' })
  })

  test('may be given back, and leads from every earlier one to the last', async () => {
    const { world, runtime } = await two()
    for (const [from, to] of [
      ['one@file', 'three@file'],
      ['three@file', 'four@file'],
      ['four@file', 'one@file'],
    ] as const)
      expect(await world.environment.until(runtime.admin.renameCluster(from, to))).toMatchObject({ ok: true })
    expect((await runtime.clusters()).map(({ topic }) => topic)).toEqual(['one@file', 'two@file'])
    const rows = await world.rows('cluster')
    expect(rows.map(({ id, renamed_to }) => [id, renamed_to])).toEqual([
      ['four@file', 'one@file'],
      ['one@file', undefined],
      ['three@file', 'one@file'],
      ['two@file', undefined],
    ])
  })

  test.each([
    ['two', "'two' is no cluster@backend"],
    ['two@tape', 'a renaming moves no data'],
    ['../two@file', 'is no cluster@backend'],
    ['one@file', 'is its name already'],
  ])('%s is bad input', async (to, message) => {
    const { runtime } = await two()
    await expect(runtime.admin.renameCluster('one@file', to)).rejects.toMatchObject({
      code: 'bad_input',
      message: expect.stringContaining(message),
    })
  })
})
