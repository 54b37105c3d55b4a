// The file driver under a runtime: each operation that moves content is cut before every effect at the folder,
// the process is gone, and a second one puts it right. Then every row is at rest, the content is the old or
// the new one, and the folders hold exactly what the rows say.

import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { ResourceRow } from '../../machines/row.ts'
import type { Driver } from '../../runtime/driver.ts'
import { KINDS } from '../../runtime/drivers/file/backend.ts'
import { checksum, fileDriver, scan, strayFiles } from '../../runtime/drivers/file.ts'
import { accepted, type Process, World } from '../kit/rig.ts'
import { emptyFolder, IN_MEMORY, imageOf, KIB, leftIn, removeFolders, scatter } from './file_rig.ts'
import { isEffect, watchedDisk } from './watched_disk.ts'

afterEach(removeFolders)

/** GiB: a little over 1 MiB, in three pieces. */
const SIZE = 0.001
const PIECE = 512 * KIB

/** Two clusters, a folder each, under processes that die when the test says so. */
class Site {
  readonly world = new World()
  readonly folders: { readonly ssd: string; readonly hdd: string }
  runtime: Process['runtime'] = null as never
  hangs = false
  #effects = 0
  #dies_at: number | null = null
  #process: Process | null = null
  readonly #handles: fs.FileHandle[] = []

  constructor(ssd: string, hdd: string) {
    this.folders = { ssd, hdd }
  }

  static async open(): Promise<Site> {
    const site = new Site(await emptyFolder(IN_MEMORY), await emptyFolder(IN_MEMORY))
    await site.start()
    return site
  }

  /** Starts a process, the one before having crashed. */
  async start(): Promise<void> {
    await this.#process?.crash()
    // The files of a process that is gone are closed.
    await Promise.all(this.#handles.splice(0).map((handle) => handle.close().catch(() => undefined)))
    const life = { hangs: () => false }
    this.#dies_at = null
    this.hangs = false
    const drivers = Object.entries(this.folders).map(([cluster, folder]) => [
      cluster,
      this.#driver(folder, life),
    ])
    const nodes = drivers.map(([cluster, driver]) => ({
      ...{ host: `${cluster}1`, cluster: cluster as string, driver: driver as Driver },
    }))
    let process: Process | null = null
    const starting = this.world.begin({ nodes }).then((started) => {
      process = started
    })
    await Promise.race([starting, this.until(async () => process !== null)])
    this.#process = process!
    this.runtime = this.#process.runtime
    life.hangs = () => {
      if (this.#dies_at !== null && this.#effects++ >= this.#dies_at) this.hangs = true
      return this.hangs
    }
  }

  /** From now on the process stands still before the `n`th effect (from 0) at a folder, for ever. */
  dieAt(n: number): void {
    this.#dies_at = n
    this.#effects = 0
  }

  #driver(folder: string, life: { readonly hangs: () => boolean }): Driver {
    let over = false
    const watched = watchedDisk((name) => {
      if (isEffect(name) && life.hangs()) over = true
      return over ? new Promise<void>(() => {}) : undefined
    })
    const disk: typeof watched = {
      ...watched,
      open: async (...given) => {
        const handle = await watched.open(...given)
        this.#handles.push(handle)
        return handle
      },
    }
    const driver = fileDriver(folder, { piece_bytes: PIECE, disk })
    return { ...driver, capabilities: async () => ({ total_gib: 100, free_gib: 50 }) }
  }

  /** Until this is true; the files are real, so real time is given as well. */
  async until(isTrue: () => Promise<boolean>): Promise<void> {
    await this.world.until(async () => {
      for (let i = 0; i < 5; i++) await fs.stat(this.folders.ssd)
      return isTrue()
    }, 2_000_000)
  }

  async rows(): Promise<readonly ResourceRow[]> {
    const lists = await Promise.all(KINDS.map((kind) => this.world.rows(kind)))
    return lists.flat() as unknown as ResourceRow[]
  }

  async atRest(): Promise<void> {
    await this.until(async () =>
      (await this.rows()).every(({ operation, held_by }) => operation === null && held_by === null),
    )
  }

  async row(kind: string, id: string): Promise<ResourceRow> {
    return this.world.row(kind, id)
  }

  async sum(kind: 'volume' | 'snapshot', id: string, cluster: 'ssd' | 'hdd' = 'ssd'): Promise<string> {
    return checksum(this.folders[cluster], kind, id)
  }

  /** Every resource of the rows is where its row says and nowhere else, and nothing else is there. */
  async expectAgreement(): Promise<void> {
    const rows = await this.rows()
    for (const [cluster, folder] of Object.entries(this.folders)) {
      const present = await scan(folder)
      for (const kind of KINDS) {
        const living = rows.filter((row) => row.kind === kind && row.cluster === `${cluster}@file`)
        const ids = (of: readonly ResourceRow[]) => of.map(({ id }) => id)
        const whole = living.filter(({ status }) => status !== 'gone' && status !== 'error')
        expect(present[kind]).toEqual(expect.arrayContaining(ids(whole)))
        expect(ids(living.filter(({ status }) => status !== 'gone'))).toEqual(
          expect.arrayContaining([...present[kind]]),
        )
      }
      expect({ ...(await strayFiles(folder)), left: await leftIn(folder) }).toEqual({
        ...{ unfinished: [], strays: [], missing: [], left: [] },
      })
    }
  }
}

interface Story {
  /** Brings the site to the operation, and begins it; tells how to judge what became of it. */
  begin(site: Site): Promise<{ act(): Promise<unknown>; judge(): Promise<void> }>
}

const at = { cluster: 'ssd@file' }

async function made(site: Site, kind: 'volume' | 'snapshot' | 'backup', data: object): Promise<string> {
  const door = site.runtime[kind] as unknown as { create(data: object, options?: object): Promise<never> }
  const { id } = accepted(await door.create(data, kind === 'snapshot' ? {} : at)) as { id: string }
  await site.atRest()
  const row = await site.row(kind, id)
  expect([row.status, row.error]).toEqual(['available', null])
  return id
}

async function madeVolume(site: Site, ...offsets: readonly number[]): Promise<string> {
  const id = await made(site, 'volume', { name: 'v', size: SIZE })
  await scatter(site.folders.ssd, id, offsets)
  return id
}

const OFFSETS = [0, 300 * KIB, 1000 * KIB] as const

const STORIES: { readonly [title: string]: Story } = {
  revert: {
    async begin(site) {
      const id = await madeVolume(site, ...OFFSETS)
      const snapshot_id = await made(site, 'snapshot', { name: 's', volume_id: id })
      await scatter(site.folders.ssd, id, [600 * KIB])
      const content = await site.sum('snapshot', snapshot_id)
      return {
        act: async () => accepted(await site.runtime.volume(id).revert({ snapshot_id })),
        async judge() {
          expect((await site.row('volume', id)).status).toBe('available')
          expect((await site.row('snapshot', snapshot_id)).status).toBe('available')
          expect(await site.sum('volume', id)).toBe(content)
        },
      }
    },
  },
  migration: {
    async begin(site) {
      const id = await madeVolume(site, ...OFFSETS)
      const content = await site.sum('volume', id)
      return {
        act: async () => accepted(await site.runtime.volume(id).migrate({ cluster: 'hdd@file' })),
        async judge() {
          const row = await site.row('volume', id)
          expect(row.status).toBe('available')
          expect(['ssd@file', 'hdd@file']).toContain(row.cluster)
          expect(await site.sum('volume', id, row.cluster.split('@')[0] as 'ssd')).toBe(content)
        },
      }
    },
  },
  'restore through a chain': {
    async begin(site) {
      const id = await madeVolume(site, ...OFFSETS)
      const parent_id = await made(site, 'backup', { name: 'b1', volume_id: id })
      await scatter(site.folders.ssd, id, [600 * KIB])
      const backup_id = await made(site, 'backup', { name: 'b2', volume_id: id, parent_id })
      const into = await madeVolume(site, 5)
      const contents = [await site.sum('volume', into), await site.sum('volume', id)]
      return {
        act: async () => accepted(await site.runtime.backup(backup_id).restore({ volume_id: into })),
        async judge() {
          const { status } = await site.row('volume', into)
          expect(['available', 'error_restoring']).toContain(status)
          expect((await site.row('backup', backup_id)).status).toBe('available')
          const content = await site.sum('volume', into)
          expect(status === 'available' ? [contents[1]] : contents).toContain(content)
        },
      }
    },
  },
  'delete in cascade': {
    async begin(site) {
      const id = await madeVolume(site, ...OFFSETS)
      const snapshots = [
        await made(site, 'snapshot', { name: 's1', volume_id: id }),
        await made(site, 'snapshot', { name: 's2', volume_id: id }),
      ]
      return {
        act: async () => accepted(await site.runtime.volume(id).delete({ cascade: true })),
        async judge() {
          expect((await site.row('volume', id)).status).toBe('gone')
          for (const snapshot of snapshots) expect((await site.row('snapshot', snapshot)).status).toBe('gone')
        },
      }
    },
  },
  'volume made from a snapshot': {
    async begin(site) {
      const id = await madeVolume(site, ...OFFSETS)
      const snapshot_id = await made(site, 'snapshot', { name: 's', volume_id: id })
      const content = await site.sum('snapshot', snapshot_id)
      let copy = ''
      return {
        act: async () => {
          copy = accepted(await site.runtime.volume.create({ name: 'c', size: SIZE, snapshot_id }, at)).id
        },
        async judge() {
          const { status } = await site.row('volume', copy)
          expect(['available', 'error']).toContain(status)
          if (status === 'available') expect(await site.sum('volume', copy)).toBe(content)
        },
      }
    },
  },
}

/** Each death needs two runtimes in real time: `npm run effects` tries them all. */
const STRIDE = process.env.EFFECTS === 'all' ? 1 : 6

test.each(Object.keys(STORIES))(
  'a %s whose process dies before any effect at the folder is put right by the next process, and nothing is left over',
  async (title) => {
    let deaths = 0
    for (let n = 0; ; n += STRIDE) {
      const site = await Site.open()
      const { act, judge } = await STORIES[title]!.begin(site)
      site.dieAt(n)
      await act()
      const isSettled = async () =>
        site.hangs ||
        (await site.rows()).every(({ operation, held_by }) => operation === null && held_by === null)
      await site.until(isSettled)
      if (!site.hangs) {
        await judge()
        await site.expectAgreement()
        break
      }
      deaths++
      await site.start()
      await site.atRest()
      await judge()
      await site.expectAgreement()
      await removeFolders()
    }
    expect(deaths * STRIDE).toBeGreaterThan(8)
  },
  300_000,
)

test('what is made, moved and removed through the runtime is what lies in the folders', async () => {
  const site = await Site.open()
  const { runtime, folders } = site
  const id = await madeVolume(site, ...OFFSETS)
  const content = await site.sum('volume', id)
  const backup_id = await made(site, 'backup', { name: 'b', volume_id: id })
  const copies = [
    await made(site, 'volume', { name: 'c', size: 2 * SIZE, source_volume_id: id }),
    await made(site, 'volume', { name: 'c', size: SIZE, backup_id }),
  ]
  expect(await site.sum('volume', copies[1]!)).toBe(content)
  accepted(await runtime.volume(id).migrate({ cluster: 'hdd@file' }))
  await site.atRest()
  expect(await site.row('volume', id)).toMatchObject({
    status: 'available',
    cluster: 'hdd@file',
    error: null,
  })
  expect(await site.sum('volume', id, 'hdd')).toBe(content)
  expect((await scan(folders.ssd)).volume).toEqual([...copies].sort())
  accepted(await runtime.volume(id).migrate({ cluster: 'ssd@file' }))
  await site.atRest()
  expect(await site.sum('volume', id)).toBe(content)
  expect(await fs.readdir(join(folders.hdd, 'volumes'))).toEqual([])
  expect((await fs.stat(imageOf(folders.ssd, copies[0]))).size).toBe(
    Math.ceil((2 * SIZE * 2 ** 30) / 512) * 512,
  )
  await site.expectAgreement()
})
