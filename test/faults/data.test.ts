// Migration, revert and restore on real files, in a process that dies at each numbered crash point of
// runtime/commit.ts: its store and its disk answer nothing any more. Another process takes over. Whatever
// came of the operation, the content is the old one or the new one, never a mixture; nothing is stuck, and no
// file is there that no row speaks of.

import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { ResourceRow } from '../../machines/row.ts'
import type { Disk } from '../../runtime/drivers/file/backend.ts'
import { placeOf } from '../../runtime/drivers/file/backend.ts'
import { checksum, scan } from '../../runtime/drivers/file.ts'
import { backup, fileDriver, memoryStore, snapshot, volume } from '../../runtime/index.ts'
import { createRuntime } from '../../runtime/runtime.ts'
import type { StoreSource } from '../../store/store.ts'
import { accepted } from '../kit/fault_rig.ts'
import { Mortal, never } from '../kit/mortal.ts'

const settings = {
  ...{ heartbeat_ms: 100, fence_after_ms: 400, down_after_ms: 900, sweep_ms: 100 },
  abort_grace_ms: 100,
}
const types = [volume, snapshot, backup] as const
const near = 'near@file'
const far = 'far@file'

/** A disk that answers nothing once the process is dead. */
function mortalDisk(mortal: Mortal): Disk {
  return new Proxy(fs, {
    get: (target, name) => {
      const member = Reflect.get(target, name)
      return typeof member !== 'function'
        ? member
        : (...args: unknown[]) => (mortal.crashed ? never : member.apply(target, args))
    },
  }) as unknown as Disk
}

class World {
  readonly source: StoreSource = memoryStore({ exclusive: false })
  readonly folders: { readonly [topic: string]: string }
  #root: string

  constructor(root: string) {
    this.#root = root
    this.folders = { [near]: join(root, 'near'), [far]: join(root, 'far') }
  }

  static async make(): Promise<World> {
    return new World(await fs.mkdtemp(join(tmpdir(), 'rekindle-data-')))
  }

  start(host: string, mortal?: Mortal) {
    const disk = mortal === undefined ? {} : { disk: mortalDisk(mortal) }
    return createRuntime(
      {
        store: this.source,
        resources: types,
        nodes: ['near', 'far'].map((cluster) => ({
          ...{ cluster, backend: 'file', host: `${cluster}-${host}` },
          driver: fileDriver(this.folders[`${cluster}@file`]!, disk),
        })),
        settings,
        log: () => {},
      },
      mortal?.seams,
    )
  }

  async remove(): Promise<void> {
    await fs.rm(this.#root, { recursive: true, force: true })
  }
}

type Running = Awaited<ReturnType<World['start']>>

async function done(answer: Promise<{ readonly ok: boolean }>): Promise<ResourceRow> {
  const ended = await (
    accepted(await answer) as unknown as {
      settled(): Promise<{ ok: boolean; row: ResourceRow; error?: unknown }>
    }
  ).settled()
  expect(ended).toMatchObject({ ok: true })
  return ended.row
}

/** Every row at rest, of all kinds. */
async function atRest(runtime: Running): Promise<ResourceRow[]> {
  for (;;) {
    const rows = (
      await Promise.all(types.map(({ kind }) => runtime.list(kind).then((page) => page.rows)))
    ).flat()
    if (rows.every(({ operation, held_by }) => operation === null && held_by === null))
      return rows as ResourceRow[]
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const sizeGib = 1 / 256

const stories = [
  {
    operation: 'migrate',
    moments: ['accept', 'claim', 'claim 2', 'requeue', 'finish'],
    ask: (runtime: Running, ids: Ids) => runtime.volume(ids.volume).migrate({ cluster: far }),
    changes: false,
  },
  {
    operation: 'revert',
    moments: ['accept', 'claim', 'finish'],
    ask: (runtime: Running, ids: Ids) => runtime.volume(ids.volume).revert({ snapshot_id: ids.snapshot }),
    changes: true,
  },
  {
    operation: 'restore',
    moments: ['accept', 'claim', 'finish'],
    ask: (runtime: Running, ids: Ids) => runtime.backup(ids.backup).restore({ volume_id: ids.volume }),
    changes: true,
  },
] as const

interface Ids {
  readonly volume: string
  readonly snapshot: string
  readonly backup: string
}

/** A volume whose content is no longer that of its snapshot and its backup. */
async function prepare(world: World, withSnapshot: boolean) {
  const runtime = await world.start('first')
  const v = await done(runtime.volume.create({ name: 'v', size: sizeGib }, { cluster: near }))
  const image = placeOf(world.folders[near]!, { kind: 'volume', id: v.id })
  await fs.writeFile(image, randomBytes(sizeGib * 2 ** 30))
  const earlier = await checksum(world.folders[near]!, 'volume', v.id)
  const b = await done(runtime.backup.create({ name: 'b', volume_id: v.id }))
  const s = withSnapshot ? await done(runtime.snapshot.create({ name: 's', volume_id: v.id })) : null
  await fs.writeFile(image, randomBytes(sizeGib * 2 ** 30))
  const later = await checksum(world.folders[near]!, 'volume', v.id)
  await runtime.stop()
  return { ids: { volume: v.id, snapshot: s?.id ?? '', backup: b.id }, earlier, later }
}

/** Every file has its row, every row its file. */
async function compareFiles(world: World, rows: readonly ResourceRow[]): Promise<void> {
  for (const [topic, folder] of Object.entries(world.folders)) {
    const there = rows.filter(({ cluster, status }) => cluster === topic && status !== 'gone')
    const ids = (kind: string) =>
      there
        .filter((row) => row.kind === kind)
        .map(({ id }) => id)
        .sort()
    expect(await scan(folder)).toEqual({
      volume: ids('volume'),
      snapshot: ids('snapshot'),
      backup: ids('backup'),
    })
  }
}

const cuts = stories.flatMap((story) =>
  story.moments.flatMap((named) => {
    const [moment, nth = '1'] = named.split(' ') as [string, string?]
    return ([1, 2] as const).map((point) => ({ ...story, moment, nth: Number(nth), point }))
  }),
)

test.concurrent.each(cuts)(
  'a $operation cut at crash point $point of $moment $nth leaves whole data, nothing stuck and no orphan',
  async ({ operation, moment, nth, point, ask, changes }) => {
    const world = await World.make()
    const { ids, earlier, later } = await prepare(world, operation === 'revert')
    const mortal = new Mortal(moment, nth, point)
    const dying = await world.start('mortal', mortal)
    const answer = await Promise.race([ask(dying, ids), dead(mortal)])
    const acknowledged = answer?.ok === true
    await dead(mortal)

    const next = await world.start('next')
    let rows = await atRest(next)
    let row = rows.find(({ id }) => id === ids.volume)!
    const found = await checksum(world.folders[row.cluster]!, 'volume', ids.volume)
    if (row.status !== 'error_restoring') expect([earlier, later]).toContain(found)
    if (!changes) expect(found).toBe(later)
    if (!acknowledged && point === 1)
      expect({ cluster: row.cluster, found }).toEqual({ cluster: near, found: later })
    expect(await next.stuck()).toEqual([])
    await compareFiles(world, rows)

    // And it can be done now, unless it was: with the content that it promises.
    if (row.status === 'error_restoring')
      await done(next.volume(ids.volume).reset_status({ status: 'available' }))
    if (row.cluster === near) await done(ask(next, ids))
    rows = await atRest(next)
    row = rows.find(({ id }) => id === ids.volume)!
    expect(row.status).toBe('available')
    expect(await checksum(world.folders[row.cluster]!, 'volume', ids.volume)).toBe(changes ? earlier : later)
    expect(row.cluster).toBe(operation === 'migrate' ? far : near)
    await compareFiles(world, rows)
    await next.stop()
    await world.remove()
  },
  60_000,
)

async function dead(mortal: Mortal): Promise<null> {
  while (!mortal.crashed) await new Promise((resolve) => setTimeout(resolve, 10))
  return null
}
