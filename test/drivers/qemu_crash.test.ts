// Crashes and stalls of the qemu driver before every effect: what is then there is what was or what is asked
// for, each image is sound, and running it again ends it.

import * as fs from 'node:fs/promises'
import { afterEach, describe, expect, test } from 'vitest'
import type { ResourceRow } from '../../machines/row.ts'
import type { Driver, DriverContext } from '../../runtime/driver.ts'
import type { QemuDisk } from '../../runtime/drivers/qemu/chain.ts'
import { qemuDriver } from '../../runtime/drivers/qemu.ts'
import { contextOf, rowOf } from '../kit/driver_contract.ts'
import {
  copied,
  emptyFolder,
  look,
  missing,
  newer,
  older,
  PIECES,
  removeFolders,
  rows,
  run,
  SIZE,
  started,
  taking,
  withBackup,
  withSnapshots,
  withVolume,
} from './qemu_rig.ts'
import { Crash, crashingDisk, stallingDisk } from './watched_disk.ts'

afterEach(removeFolders)

if (missing !== null) test.skip(`is left out: ${missing}`)

interface Scene {
  readonly title: string
  readonly operation: string
  readonly row: ResourceRow
  readonly given?: Partial<DriverContext>
  prepare(folder: string): Promise<Driver>
  /** It is also stalled: the ways in which images of a volume are changed, each once. */
  readonly stalls?: true
  /** It removes several resources, one after the other. */
  readonly inSteps?: true
}

const clone = rowOf(
  { kind: 'volume', id: 'v9' },
  { name: 'copy', size: 2 * SIZE, snapshot_id: 's2' },
  { fence: 2 },
)
const SCENES: Scene[] = [
  { title: 'volume create', operation: 'create', row: rows.volume(2), prepare: started },
  {
    title: 'volume create from a snapshot',
    operation: 'create',
    row: clone,
    given: taking(rows.snapshot(newer)),
    prepare: withSnapshots,
  },
  {
    title: 'volume extend',
    stalls: true,
    operation: 'extend',
    row: rows.volume(2),
    given: { input: { size: 2 * SIZE } },
    prepare: withSnapshots,
  },
  {
    title: 'volume revert',
    stalls: true,
    operation: 'revert',
    row: rows.volume(2),
    given: { input: { snapshot_id: 's1' }, ...taking(rows.snapshot(older)) },
    prepare: withSnapshots,
  },
  {
    title: 'volume delete in cascade',
    operation: 'delete',
    row: rows.volume(2),
    given: { input: { cascade: true }, ...taking(rows.snapshot(older, 2), rows.snapshot(newer, 2)) },
    prepare: withSnapshots,
    inSteps: true,
  },
  {
    title: 'snapshot create',
    stalls: true,
    operation: 'create',
    row: rows.snapshot(older, 2),
    given: taking(rows.volume()),
    prepare: withVolume,
  },
  {
    title: 'snapshot delete',
    operation: 'delete',
    row: rows.snapshot(older, 2),
    given: taking(rows.volume()),
    prepare: withSnapshots,
  },
  {
    title: 'snapshot delete below its volume',
    stalls: true,
    operation: 'delete',
    row: rows.snapshot(newer, 2),
    given: taking(rows.volume()),
    prepare: withSnapshots,
  },
  {
    title: 'backup restore',
    operation: 'restore',
    row: rows.backup(2),
    given: { input: { volume_id: 'v2' }, ...taking(rows.target(2)) },
    prepare: withBackup,
  },
]

/** Every effect takes minutes, since each attempt runs qemu-img several times: `npm run effects` tries them all. */
const STRIDE = process.env.EFFECTS === 'all' ? 1 : 12

/** Tries the effects, some at a time, until one is past the end. Tells how many were not. */
async function upToTheEnd(attempt: (n: number) => Promise<'past the end' | void>): Promise<number> {
  for (let n = 0; ; n += 4) {
    const ends = await Promise.all([n, n + 1, n + 2, n + 3].map((k) => attempt(k * STRIDE)))
    const past = ends.indexOf('past the end')
    if (past >= 0) return n + past
  }
}

/** The others are much like these. */
const TRIED =
  STRIDE === 1 ? SCENES : SCENES.filter(({ title }) => /extend|revert|snapshot create/.test(title))

describe.skipIf(missing !== null).each(TRIED)(
  'a $title',
  ({ title, operation, row, given, prepare, inSteps, stalls }) => {
    const next = { ...row, fence: row.fence + 1 }
    const again = given?.relatedRows
      ? { ...given, relatedRows: given.relatedRows.map((taken) => ({ ...taken })) }
      : given

    async function prepared() {
      const base = await emptyFolder()
      await prepare(base)
      const before = await look(base)
      const sample = await copied(base)
      const result = await run(qemuDriver(sample, PIECES), operation, row, given)
      return { base, before, after: await look(sample), result }
    }

    test('that crashes before any of its effects is done by running it again, or undone, and leaves nothing else', async () => {
      const { base, before, after, result } = await prepared()
      const crashes = await upToTheEnd(async (n) => {
        const folder = await copied(base)
        const { disk, crashed } = crashingDisk(n)
        const dying = run(qemuDriver(folder, { ...PIECES, disk: disk as QemuDisk }), operation, row, given)
        const settled = await dying.then(
          () => 'done',
          (error) => error,
        )
        if (!crashed()) return 'past the end'
        if (settled !== 'done') expect(settled).toBeInstanceOf(Crash)
        const halfway = await look(folder)
        if (inSteps) expect(before.present).toMatchObject(halfway.present)
        else expect([before.present, after.present]).toContainEqual(halfway.present)
        if (settled === 'done') expect(halfway.present).toEqual(after.present)

        const undone = await copied(folder)
        await qemuDriver(undone, PIECES).undo!(contextOf(next, operation, again))
        expect((await look(undone)).present).toEqual(
          operation === 'create' ? before.present : halfway.present,
        )

        expect(await run(qemuDriver(folder, PIECES), operation, n % 2 === 0 ? next : row, again)).toEqual(
          result,
        )
        expect(await look(folder)).toEqual(after)
      })
      expect(crashes * STRIDE).toBeGreaterThan(5)
    }, 240_000)

    test.runIf(stalls)(
      'that stalls before any of its effects changes nothing once a newer fence is raised',
      async () => {
        const { base, before, after } = await prepared()
        let refused = 0
        await upToTheEnd(async (n) => {
          const folder = await copied(base)
          const { disk, stalled, release } = stallingDisk(n)
          const slow = qemuDriver(folder, { ...PIECES, disk: disk as QemuDisk })
          const settled = run(slow, operation, row, given).then(
            () => 'done',
            (error) => error.code,
          )
          if ((await Promise.race([stalled, settled])) !== 'stalled') return 'past the end'
          await qemuDriver(folder, PIECES).fence!(row, row.fence + 1)
          const fenced = await look(folder)
          if (inSteps) expect(before.present).toMatchObject(fenced.present)
          else expect([before.present, after.present]).toContainEqual(fenced.present)
          release()
          const code = await settled
          const woken = await look(folder)
          // Growing is in place, and loses nothing.
          if (title !== 'volume extend') expect(woken.present).toEqual(fenced.present)
          expect(['fenced', 'done']).toContain(code)
          if (code === 'fenced') refused++
          // The next claim is not kept waiting by what the fenced one held.
          await run(qemuDriver(folder, PIECES), operation, { ...row, fence: row.fence + 2 }, again)
          expect(await look(folder)).toEqual(after)
        })
        expect(refused * STRIDE).toBeGreaterThan(5)
      },
      240_000,
    )
  },
)

describe.skipIf(missing !== null)('a snapshot whose making was interrupted between its two renames', () => {
  test('is one file with its volume, and running it again or removing it leaves the volume as it was', async () => {
    const base = await emptyFolder()
    await withVolume(base)
    const before = await look(base)
    let halves = 0
    for (let n = 0; ; n++) {
      const folder = await copied(base)
      const { disk, crashed } = crashingDisk(n)
      const driver = qemuDriver(folder, { ...PIECES, disk: disk as QemuDisk })
      await run(driver, 'create', rows.snapshot(older, 2), taking(rows.volume())).catch(() => undefined)
      if (!crashed()) break
      const [one, other] = await Promise.all(
        ['volumes/v1.img', 'snapshots/s1.img'].map((path) =>
          fs.stat(`${folder}/${path}`).then(
            ({ ino }) => ino,
            () => null,
          ),
        ),
      )
      if (one !== other) continue
      halves++
      await run(qemuDriver(folder, PIECES), 'delete', rows.snapshot(older, 3), taking(rows.volume()))
      expect(await look(folder)).toEqual(before)
    }
    expect(halves).toBeGreaterThan(0)
  })
})
