// What images of the qemu driver hold after each operation, how they hang together, and what is refused.

import { spawn } from 'node:child_process'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import type { Ref } from '../../machines/row.ts'
import type { Exported } from '../../runtime/driver.ts'
import { checksum, fileDriver } from '../../runtime/drivers/file.ts'
import { contentChecksum, qemuDriver } from '../../runtime/drivers/qemu.ts'
import { contextOf, rowOf, setupOf } from '../kit/driver_contract.ts'
import {
  backup,
  emptyFolder,
  imageOf,
  KIB,
  leftIn,
  look,
  MIB,
  missing,
  newer,
  older,
  qemuImg,
  read,
  removeFolders,
  rows,
  run,
  SIZE,
  started,
  taking,
  target,
  volume,
  withBackup,
  withSnapshots,
  withVolume,
  write,
} from './qemu_rig.ts'

afterEach(removeFolders)

if (missing !== null) test.skip(`is left out: ${missing}`)

/** The names of the images of a chain, from the top. */
async function chain(folder: string, ref: Ref): Promise<string[]> {
  const told = await qemuImg('info', '-f', 'qcow2', '--backing-chain', '--output=json', imageOf(folder, ref))
  return (JSON.parse(told) as { filename: string }[]).map(({ filename }) =>
    filename.replace(/^.*\/(volume|snapshot)s\/(\w+)\.img$/, '$1 $2'),
  )
}

describe.skipIf(missing !== null)('snapshots', () => {
  test('a snapshot becomes the backing file of its volume, and keeps what the volume then overwrites', async () => {
    const folder = await emptyFolder()
    await withSnapshots(folder)
    expect(await chain(folder, volume)).toEqual(['volume v1', 'snapshot s2', 'snapshot s1'])
    const [first, second, now] = [
      await read(folder, older),
      await read(folder, newer),
      await read(folder, volume),
    ]
    expect([first, second, now].map((data) => data.toString('latin1', 0, 1))).toEqual(['a', 'd', 'd'])
    expect([first, second, now].map((data) => data[200 * KIB])).toEqual([0, 0x65, 0x65])
    expect([first, second, now].map((data) => String.fromCharCode(data[500 * KIB]!))).toEqual(['b', 'b', 'f'])
  })

  test('a snapshot of much data costs next to nothing', async () => {
    const folder = await emptyFolder()
    const driver = await withVolume(folder)
    await write(folder, volume, 'z', 0, MIB)
    const before = (await fs.stat(imageOf(folder))).size
    await run(driver, 'create', rows.snapshot(), taking(rows.volume()))
    expect(before).toBeGreaterThan(MIB)
    expect((await fs.stat(imageOf(folder))).size).toBeLessThan(MIB / 2)
    expect((await fs.stat(imageOf(folder, older))).size).toBe(before)
  })

  test.each([
    ['oldest', older, ['volume v1', 'snapshot s2']],
    ['newest', newer, ['volume v1', 'snapshot s1']],
  ])('removing the %s one leaves the others and the volume as they read', async (_, ref, left) => {
    const folder = await emptyFolder()
    const driver = await withSnapshots(folder)
    const { present } = await look(folder)
    await run(driver, 'delete', rows.snapshot(ref, 2), taking(rows.volume()))
    delete present[`snapshot ${ref.id}`]
    expect(await look(folder)).toEqual({ present, left: [] })
    expect(await chain(folder, volume)).toEqual(left)
  })

  test('after a revert a snapshot is below two images; removing it leaves both as they read', async () => {
    const folder = await emptyFolder()
    const driver = await withSnapshots(folder)
    await run(driver, 'revert', rows.volume(2), { input: { snapshot_id: 's1' }, ...taking(rows.snapshot()) })
    expect((await read(folder, volume)).equals(await read(folder, older))).toBe(true)
    expect(await chain(folder, volume)).toEqual(['volume v1', 'snapshot s1'])
    await write(folder, volume, 'g', 700 * KIB)
    const { present } = await look(folder)
    await run(driver, 'delete', rows.snapshot(older, 2), taking(rows.volume()))
    delete present['snapshot s1']
    expect(await look(folder)).toEqual({ present, left: [] })
    expect(await chain(folder, volume)).toEqual(['volume v1'])
    expect(await chain(folder, newer)).toEqual(['snapshot s2'])
  })

  test('what a snapshot held is gone for good with it: a volume deleted in cascade leaves no image', async () => {
    const folder = await emptyFolder()
    const driver = await withSnapshots(folder)
    const snapshots = taking(rows.snapshot(older, 2), rows.snapshot(newer, 2))
    await run(driver, 'delete', rows.volume(2), { input: { cascade: true }, ...snapshots })
    expect(await look(folder)).toEqual({ present: {}, left: [] })
    expect(await fs.readdir(join(folder, 'turns'))).toEqual([])
  })

  test('many snapshots of one volume, asked for at once of two drivers, are all made, one over the other', async () => {
    const folder = await emptyFolder()
    const drivers = [await withVolume(folder), await started(folder)]
    const before = await read(folder, volume)
    const ids = ['t1', 't2', 't3', 't4', 't5', 't6']
    await Promise.all(
      ids.map((id, at) =>
        run(drivers[at % 2]!, 'create', rows.snapshot({ kind: 'snapshot', id }), taking(rows.volume())),
      ),
    )
    const found = await chain(folder, volume)
    expect([...found].sort()).toEqual([...ids.map((id) => `snapshot ${id}`), 'volume v1'])
    for (const id of ids) expect((await read(folder, { kind: 'snapshot', id })).equals(before)).toBe(true)
    await Promise.all(
      ids.map((id, at) =>
        run(drivers[at % 2]!, 'delete', rows.snapshot({ kind: 'snapshot', id }, 2), taking(rows.volume())),
      ),
    )
    expect(await chain(folder, volume)).toEqual(['volume v1'])
    expect((await read(folder, volume)).equals(before)).toBe(true)
  })

  test('a half-made snapshot, one file with its volume, is given up when its claim is fenced', async () => {
    const folder = await emptyFolder()
    const driver = await withVolume(folder)
    const before = await look(folder)
    await fs.link(imageOf(folder), imageOf(folder, older))
    await driver.fence!(rows.snapshot(), 2)
    expect(await look(folder)).toEqual(before)
    await driver.fence!(rows.snapshot(), 2)
    expect(await look(folder)).toEqual(before)
  })

  test('a half-made snapshot is finished by the next run of its create', async () => {
    const folder = await emptyFolder()
    const driver = await withVolume(folder)
    await fs.link(imageOf(folder), imageOf(folder, older))
    await run(driver, 'create', rows.snapshot(older, 2), taking(rows.volume()))
    expect(await chain(folder, volume)).toEqual(['volume v1', 'snapshot s1'])
    const frozen = await contentChecksum(folder, 'snapshot', 's1')
    await write(folder, volume, 'g', 0)
    expect(await contentChecksum(folder, 'snapshot', 's1')).toBe(frozen)
  })

  test('a whole snapshot is not touched by a fence', async () => {
    const folder = await emptyFolder()
    const driver = await withSnapshots(folder)
    const before = await look(folder)
    await driver.fence!(rows.snapshot(), 2)
    expect(await look(folder)).toEqual(before)
  })
})

describe.skipIf(missing !== null)('volumes', () => {
  const clone = { kind: 'volume', id: 'v9' }
  const made = (data: object) => rowOf(clone, { name: 'made', size: 2 * SIZE, ...data }, { fence: 1 })

  test.each([
    ['a snapshot', { snapshot_id: 's1' }, rows.snapshot(older), older],
    ['another volume', { source_volume_id: 'v1' }, rows.volume(), volume],
  ])(
    'one made of %s holds the same, is as large as asked for, and needs nothing of it',
    async (_, data, taken, source) => {
      const folder = await emptyFolder()
      const driver = await withSnapshots(folder)
      await run(driver, 'create', made(data), taking(taken))
      const content = await read(folder, clone)
      expect(content.length).toBe(2 * MIB)
      expect(content.subarray(0, MIB).equals(await read(folder, source))).toBe(true)
      expect(content.subarray(MIB).every((byte) => byte === 0)).toBe(true)
      expect(await chain(folder, clone)).toEqual(['volume v9'])
    },
  )

  test('one made of a backup holds the same', async () => {
    const folder = await emptyFolder()
    const driver = await withBackup(folder)
    await run(driver, 'create', made({ backup_id: 'b1' }), taking(rows.backup()))
    expect((await read(folder, clone)).subarray(0, MIB).equals(await read(folder, volume))).toBe(true)
  })

  test('what it is to be made of and is not here is for another backend to make', async () => {
    const driver = await started(await emptyFolder())
    const creating = run(driver, 'create', made({ snapshot_id: 's1' }), taking(rows.snapshot()))
    await expect(creating).rejects.toMatchObject({ code: 'not_here', message: expect.stringContaining('s1') })
  })

  test('a source larger than the volume is refused, and so is a revert to a snapshot of another size', async () => {
    const folder = await emptyFolder()
    const driver = await withSnapshots(folder)
    const row = made({ size: SIZE / 2, snapshot_id: 's1' })
    await expect(run(driver, 'create', row, taking(rows.snapshot()))).rejects.toMatchObject({
      code: 'size_differs',
    })
    await run(driver, 'extend', rows.volume(2), { input: { size: 2 * SIZE } })
    const reverting = run(driver, 'revert', rows.volume(3, 2 * SIZE), {
      input: { snapshot_id: 's1' },
      ...taking(rows.snapshot()),
    })
    await expect(reverting).rejects.toMatchObject({ code: 'size_differs' })
  })

  test('growing one over its snapshots keeps the data, reads as zero beyond, and never shrinks', async () => {
    const folder = await emptyFolder()
    const driver = await withSnapshots(folder)
    const before = await read(folder, volume)
    const extend = (size: number, fence: number) =>
      run(driver, 'extend', rows.volume(fence), { input: { size } })
    expect(await extend(2 * SIZE, 2)).toEqual({ size: 2 * SIZE })
    expect(await extend(SIZE, 3)).toEqual({ size: 2 * SIZE })
    const grown = await read(folder, volume)
    expect(grown.length).toBe(2 * MIB)
    expect(grown.subarray(0, MIB).equals(before)).toBe(true)
    expect(grown.subarray(MIB).every((byte) => byte === 0)).toBe(true)
    expect(await driver.undo!(contextOf(rows.volume(4), 'extend', { input: { size: 2 * SIZE } }))).toEqual({
      size: 2 * SIZE,
    })
  })

  test('a volume is thin: space is promised by its size and taken by its data', async () => {
    const folder = await emptyFolder()
    const driver = await started(folder, { capabilities: { max_over_subscription: 20 } })
    await run(driver, 'create', rowOf(volume, { name: 'huge', size: 1000 }, { fence: 1 }))
    expect((await fs.stat(imageOf(folder))).size).toBeLessThan(4 * MIB)
    expect(await driver.capabilities!()).toMatchObject({
      thin: true,
      provisioned_gib: 1000,
      max_over_subscription: 20,
    })
  })

  test.each([0, -1, Number.NaN, '1', null])('the size %s is refused', async (size) => {
    const driver = await started(await emptyFolder())
    const row = rowOf(volume, { size } as never, { fence: 1 })
    await expect(run(driver, 'create', row)).rejects.toMatchObject({ code: 'bad_size' })
  })

  test.each(['../v1', '-rf', '--help', 'a:b', 'a,b', ''])('the id %j never reaches qemu-img', async (id) => {
    const driver = await started(await emptyFolder())
    const row = rowOf({ kind: 'volume', id }, { name: 'x', size: SIZE }, { fence: 1 })
    for (const operation of ['create', 'extend', 'delete'])
      await expect(run(driver, operation, row, { input: { size: 1 } })).rejects.toMatchObject({
        code: 'bad_id',
      })
  })
})

describe.skipIf(missing !== null)('backups', () => {
  test('a restore gives back what was backed up, and the snapshots of its volume stay', async () => {
    const folder = await emptyFolder()
    const driver = await withSnapshots(folder)
    const before = await look(folder)
    await run(driver, 'create', rows.backup(), taking(rows.volume()))
    await write(folder, volume, 'y', 0, 600 * KIB)
    const restoring = { input: { volume_id: 'v1' }, ...taking(rows.volume(2)) }
    await run(driver, 'restore', rows.backup(2), restoring)
    const after = await look(folder)
    expect(after.present).toMatchObject(before.present)
    expect(await chain(folder, volume)).toEqual(['volume v1'])
  })

  test('one of a snapshot holds the snapshot, an incremental one what has changed since', async () => {
    const folder = await emptyFolder()
    const driver = await withSnapshots(folder)
    const first = rowOf(backup, { name: 'first', volume_id: 'v1', snapshot_id: 's1' }, { fence: 1 })
    const facts = await run(driver, 'create', first, taking(rows.snapshot()))
    expect(facts).toMatchObject({ size: SIZE, bytes: MIB, chunks: 4 })
    const kept = { ...first, data: { ...first.data, ...facts } }
    const second = rowOf(
      { kind: 'backup', id: 'b2' },
      { name: 'second', volume_id: 'v1', parent_id: 'b1' },
      { fence: 1 },
    )
    await run(driver, 'create', second, taking(rows.volume(), kept))
    // 'd' and 'e' are in the first chunk, 'f' in the second, and the last two are the parent's.
    const chunks = (await fs.readdir(join(folder, 'backups', 'b2'))).filter((name) => name.endsWith('.gz'))
    expect(chunks).toEqual(['0.gz', '1.gz'])
    await run(driver, 'create', rows.target())
    const restoring = { input: { volume_id: 'v2' }, ...taking(rows.target(2)) }
    await run(driver, 'restore', { ...second, fence: 2 }, restoring)
    expect((await read(folder, target)).subarray(0, MIB).equals(await read(folder, volume))).toBe(true)
  })

  test('a damaged one is not restored, and its target is as it was', async () => {
    const folder = await emptyFolder()
    const driver = await withBackup(folder)
    const before = (await look(folder)).present['volume v2']
    await fs.writeFile(join(folder, 'backups', 'b1', '0.gz'), 'not gzip')
    const restoring = { input: { volume_id: 'v2' }, ...taking(rows.target(2)) }
    await expect(run(driver, 'restore', rows.backup(2), restoring)).rejects.toMatchObject({
      code: 'backup_damaged',
    })
    expect((await look(folder)).present['volume v2']).toBe(before)
    expect(await leftIn(folder)).toEqual([])
  })

  test('a volume with snapshots is backed up as it reads, through its chain', async () => {
    const folder = await emptyFolder()
    const driver = await withSnapshots(folder)
    await run(driver, 'create', rows.backup(), taking(rows.volume()))
    await run(driver, 'create', rows.target())
    const restoring = { input: { volume_id: 'v2' }, ...taking(rows.target(2)) }
    await run(driver, 'restore', rows.backup(2), restoring)
    expect((await read(folder, target)).subarray(0, MIB).equals(await read(folder, volume))).toBe(true)
  })
})

describe.skipIf(missing !== null)('migrations', () => {
  const never = new AbortController().signal
  const arriving = (source: Exported, fence = 2) => ({ row: rows.volume(fence), given: { source } })

  test('a volume moves from qcow2 images to raw ones and back, the same to the last byte', async () => {
    const [here, there] = [await emptyFolder(), await emptyFolder()]
    const qemu = await withSnapshots(here)
    const file = fileDriver(there)
    await file.setup!({ ...setupOf(), cluster: 'raw' })
    const content = await contentChecksum(here, 'volume', 'v1')
    const source = await qemu.export!(rows.volume(), never)
    expect(source.bytes).toBe(MIB)
    expect(await source.checksum(never)).toBe(content)
    const away = arriving(source)
    await run(file, 'migrate', away.row, away.given)
    expect(await checksum(there, 'volume', 'v1')).toBe(content)

    await qemu.operations.volume!.release_source!(
      contextOf({ ...rows.volume(3), cluster: 'raw@b' }, 'release_source'),
    )
    expect(Object.keys((await look(here)).present)).not.toContain('volume v1')
    const back = arriving(await file.export!(rows.volume(3), never), 4)
    await run(qemu, 'migrate', back.row, back.given)
    await run(qemu, 'migrate', back.row, back.given)
    expect(await contentChecksum(here, 'volume', 'v1')).toBe(content)
    expect(await leftIn(here)).toEqual([])
  })

  test('what an export gives leaves out what was never written', async () => {
    const folder = await emptyFolder()
    const driver = await withVolume(folder)
    const source = await driver.export!(rows.volume(), never)
    const offsets: number[] = []
    for await (const { offset } of source.pieces(never)) offsets.push(offset)
    expect(offsets).toEqual([0, 256 * KIB, 512 * KIB, 768 * KIB])
    await run(driver, 'create', rows.target())
    const empty = await driver.export!(rows.target(), never)
    for await (const piece of empty.pieces(never)) expect(piece).toBeUndefined()
  })

  test('a move within one folder is refused, and its undo takes nothing away', async () => {
    const folder = await emptyFolder()
    const driver = await withVolume(folder)
    const before = await look(folder)
    const { row, given } = arriving(await driver.export!(rows.volume(), never))
    await expect(run(driver, 'migrate', row, given)).rejects.toMatchObject({ code: 'same_place' })
    await driver.undo!(contextOf(rows.volume(3), 'migrate'))
    expect(await look(folder)).toEqual(before)
  })

  test('a source that gives other bytes than its checksum says leaves nothing here', async () => {
    const driver = await started(await emptyFolder())
    const source: Exported = {
      bytes: MIB,
      place: 'elsewhere',
      async *pieces() {
        yield { offset: 0, data: Buffer.from('damaged on its way') }
      },
      checksum: async () => '0'.repeat(64),
    }
    const { row, given } = arriving(source)
    await expect(run(driver, 'migrate', row, given)).rejects.toMatchObject({ code: 'checksum_mismatch' })
  })

  test('undoing a move takes the copy away, and undoing it twice as well', async () => {
    const [here, there] = [await emptyFolder(), await emptyFolder()]
    const { row, given } = arriving(await (await withVolume(here)).export!(rows.volume(), never))
    const driver = await started(there)
    await run(driver, 'migrate', row, given)
    for (const fence of [3, 4]) {
      await driver.undo!(contextOf(rows.volume(fence), 'migrate'))
      expect(await look(there)).toEqual({ present: {}, left: [] })
    }
  })
})

describe.skipIf(missing !== null)('who else is there', () => {
  /** Holds the image as a running virtual machine does, while `act` runs. */
  async function whileOpen(path: string, act: () => Promise<void>): Promise<void> {
    const guest = spawn('qemu-io', ['-f', 'qcow2', path], { stdio: ['pipe', 'pipe', 'ignore'] })
    const over = new Promise((resolve) => guest.on('close', resolve))
    try {
      await new Promise<void>((resolve) => {
        let said = ''
        guest.stdout.on('data', (text) => {
          said += text
          if (said.includes('wrote')) resolve()
        })
        guest.stdin.write('write -P 1 0 512\n')
      })
      await act()
    } finally {
      guest.stdin.end('quit\n')
      await over
    }
  }

  test('an image that a program has open is refused as busy by whatever would replace it, and stays', async () => {
    const folder = await emptyFolder()
    const driver = await withSnapshots(folder)
    await run(driver, 'create', rows.backup(), taking(rows.volume()))
    const before = await fs.stat(imageOf(folder))
    await whileOpen(imageOf(folder), async () => {
      const third = rows.snapshot({ kind: 'snapshot', id: 's3' })
      const attempts = [
        () => run(driver, 'create', third, taking(rows.volume())),
        () => run(driver, 'delete', rows.snapshot(newer, 2), taking(rows.volume())),
        () => run(driver, 'extend', rows.volume(2), { input: { size: 2 * SIZE } }),
        () =>
          run(driver, 'revert', rows.volume(3), { input: { snapshot_id: 's1' }, ...taking(rows.snapshot()) }),
        () =>
          run(driver, 'restore', rows.backup(2), { input: { volume_id: 'v1' }, ...taking(rows.volume(3)) }),
        () => run(driver, 'delete', rows.volume(4)),
        () => run(driver, 'create', rows.backup(3), taking(rows.volume())),
      ]
      const codes: unknown[] = []
      for (const attempt of attempts)
        codes.push(
          await attempt().then(
            () => 'done',
            (error) => error.code,
          ),
        )
      // The last one is there already.
      expect(codes).toEqual([...Array(6).fill('busy'), 'done'])
      expect((await fs.stat(imageOf(folder))).ino).toBe(before.ino)
      // What lies lower in the chain nobody writes to.
      await run(driver, 'delete', rows.snapshot(older, 2), taking(rows.volume()))
    })
    await run(driver, 'delete', rows.snapshot(newer, 3), taking(rows.volume()))
    expect(await chain(folder, volume)).toEqual(['volume v1'])
  })

  test('a forced delete does not ask who has the image open', async () => {
    const folder = await emptyFolder()
    const driver = await withVolume(folder)
    await whileOpen(imageOf(folder), () => run(driver, 'force_delete', rows.volume(2)) as Promise<void>)
    expect(await look(folder)).toEqual({ present: {}, left: [] })
  })

  test('an image that names a backing file elsewhere is not read', async () => {
    const folder = await emptyFolder()
    const driver = await withVolume(folder)
    await qemuImg('rebase', '-u', '-f', 'qcow2', '-F', 'raw', '-b', '/etc/hostname', imageOf(folder))
    const row = rowOf(target, { name: 'copy', size: SIZE, source_volume_id: 'v1' }, { fence: 1 })
    await expect(run(driver, 'create', row, taking(rows.volume()))).rejects.toMatchObject({
      code: 'bad_image',
    })
    await expect(run(driver, 'create', rows.backup(), taking(rows.volume()))).rejects.toMatchObject({
      code: 'bad_image',
    })
  })

  test('raw bytes that pretend to be a qcow2 image stay raw bytes', async () => {
    const [here, there] = [await emptyFolder(), await emptyFolder()]
    const file = fileDriver(there)
    await file.setup!(setupOf())
    await run(file, 'create', rows.volume())
    await qemuImg('create', '-q', '-f', 'qcow2', join(here, 'guest'), '1G')
    const pretence = await fs.readFile(join(here, 'guest'))
    const handle = await fs.open(imageOf(there), 'r+')
    await handle.write(pretence, 0, pretence.length, 0)
    await handle.close()
    const driver = await started(here)
    const source = await file.export!(rows.volume(), new AbortController().signal)
    await run(driver, 'migrate', rows.volume(2), { source })
    const content = await read(here, volume)
    expect(content.length).toBe(MIB)
    expect(content.subarray(0, pretence.length).equals(pretence)).toBe(true)
  })

  test('a folder of raw images is left to their driver', async () => {
    const folder = await emptyFolder()
    const file = fileDriver(folder)
    await file.setup!(setupOf())
    await run(file, 'create', rows.volume())
    await expect(started(folder)).rejects.toMatchObject({ code: 'backend_unusable' })
  })
})

describe('without qemu-img', () => {
  async function program(script: string): Promise<string> {
    const path = join(await emptyFolder(), 'qemu-img')
    await fs.writeFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    return path
  }

  test.each([
    ['missing', async () => join(await emptyFolder(), 'nothing'), 'ENOENT'],
    ['too old', () => program('echo "qemu-img version 4.2.1 (Debian)"'), '4.2.1'],
    ['another program', () => program('echo hello'), 'does not tell its version'],
  ])('one that is %s fails the set-up, which says how to install it', async (_, made, told) => {
    const command = await made()
    const driver = qemuDriver(await emptyFolder(), { command })
    const starting = driver.setup!(setupOf())
    await expect(starting).rejects.toMatchObject({
      code: 'no_qemu_img',
      message: expect.stringContaining(told),
    })
    await expect(starting).rejects.toThrow('apt-get install qemu-utils')
  })

  test('its last words are in the error, and a full disk has its own code', async () => {
    const folder = await emptyFolder()
    const broken = (words: string) =>
      program(`[ "$1" = --version ] && echo "qemu-img version 7.2.0" && exit\necho "${words}" >&2\nexit 1`)
    const full = 'qemu-img: error while writing sector 8: No space left on device'
    const [odd, filled] = [
      await started(folder, { command: await broken('first line\nqemu-img: it is broken') }),
      await started(folder, { command: await broken(full) }),
    ]
    await expect(run(odd, 'create', rows.volume())).rejects.toMatchObject({
      code: 'driver_failed',
      message: 'qemu-img create: it is broken',
    })
    // Another backend may have room for an empty volume.
    await expect(run(filled, 'create', rows.volume())).rejects.toMatchObject({ code: 'not_here' })
    expect(await leftIn(folder)).toEqual([])
  })

  test('an abort kills it, and the call ends with the reason when the process has ended', async () => {
    const folder = await emptyFolder()
    const notes = join(await emptyFolder(), 'pid')
    const command = await program(
      `[ "$1" = --version ] && echo "qemu-img version 7.2.0" && exit\necho $$ > ${notes}.new\nmv ${notes}.new ${notes}\nexec sleep 1000`,
    )
    const driver = await started(folder, { command })
    const control = new AbortController()
    const reason = new Error('fenced')
    const creating = run(driver, 'create', rows.volume(), { signal: control.signal })
    const pid = await untilWritten(notes)
    control.abort(reason)
    await expect(creating).rejects.toBe(reason)
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
    expect(await leftIn(folder)).toEqual([])
  })

  async function untilWritten(path: string): Promise<number> {
    for (;;) {
      const text = await fs.readFile(path, 'utf8').catch(() => '')
      if (text !== '') return Number(text)
    }
  }
})
