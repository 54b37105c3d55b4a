// Bytes that are not what was written are told with file, line and byte, and nothing is overwritten. What a
// folder can't be is told as clearly.

import { expect, test } from 'vitest'
import { jsonStore } from '../../store/index.ts'
import { FaultyDisk } from '../kit/faulty_file_system.ts'
import { put, row } from '../kit/store_contract.ts'

const folder = '/data'
const source = (disk: FaultyDisk, checkpoint_bytes = 900) =>
  jsonStore(folder, { file_system: disk.fileSystem(), checkpoint_bytes, shard_rows: 3 })

/** Rows, a batch each. With small `checkpoint_bytes` most of them are in shards. */
async function filled(checkpoint_bytes: number, rows = 60): Promise<FaultyDisk> {
  const disk = new FaultyDisk(1)
  const store = await source(disk, checkpoint_bytes).open()
  for (let i = 0; i < rows; i++)
    await put(store, row(String(i).padStart(2, '0'), 1, { text: 'x'.repeat(40) }))
  await store.close()
  return disk
}

const copyOf = (disk: FaultyDisk) =>
  disk.names(folder).map((name) => [name, Buffer.from(disk.file(`${folder}/${name}`)).toString('latin1')])

async function expectRefused(disk: FaultyDisk, code: string, message: RegExp): Promise<void> {
  const before = copyOf(disk)
  await expect(source(disk).open()).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
  expect(copyOf(disk)).toEqual(before)
}

test('one flipped bit anywhere in a batch that is not the last names file, line and byte', async () => {
  const name = 'journal-00000001.jsonl'
  const file = (await filled(1e9, 20)).file(`${folder}/${name}`)
  const whole = file.slice(0, file.lastIndexOf(10) + 1)
  const lines = Buffer.from(whole).toString('latin1').split('\n')
  const end = lines.slice(0, 20).join('\n').length
  let line = 1
  let start = 0
  for (let byte = 0; byte < end; byte++) {
    const bytes = whole.slice()
    bytes[byte]! ^= 1 << (byte % 8)
    const disk = new FaultyDisk(1)
    await disk.fileSystem().makeFolder(folder)
    disk.put(`${folder}/${name}`, bytes)
    await expectRefused(disk, 'store_damaged', new RegExp(`${name}, line ${line}, byte ${start}\\b`))
    if (whole[byte] === 10) {
      line++
      start = byte + 1
    }
  }
  expect(line).toBe(20)
})

test('one flipped bit in the manifest or in a shard names the file', async () => {
  const names = (await filled(900)).names(folder).filter((name) => /^(manifest|shard)/.test(name))
  expect(names.length).toBeGreaterThan(3)
  for (const name of names) {
    const size = (await filled(900)).file(`${folder}/${name}`).length
    for (let byte = 0; byte < size; byte += 67) {
      const disk = await filled(900)
      const bytes = disk.file(`${folder}/${name}`)
      bytes[byte]! ^= 4
      disk.put(`${folder}/${name}`, bytes)
      await expectRefused(disk, 'store_damaged', new RegExp(name))
    }
  }
})

test('a file that is missing is named, whichever it is', async () => {
  const names = (await filled(900)).names(folder)
  // Of several segments the last is not missed: nothing else tells that it was there.
  const segments = names.filter((name) => name.startsWith('journal'))
  for (const name of names) {
    if (segments.length > 1 && name === segments.at(-1)) continue
    const disk = await filled(900)
    disk.take(`${folder}/${name}`)
    await expectRefused(disk, 'store_damaged', new RegExp(`${name}.*missing`))
  }
})

test('a folder that cannot be used is told with what to do about it', async () => {
  for (const [code, advice] of [
    ['EROFS', 'make it writable'],
    ['EACCES', 'give this process the right'],
    ['ENOSPC', 'free some space'],
  ] as const) {
    const disk = await filled(900)
    // From the first change on, as the system does where it may only be read.
    const reads = /^(make|read|own)/
    const from = disk.operations.length
    const trial = await filled(900)
    await (await source(trial).open()).close()
    const first = trial.operations.findIndex((name, i) => i >= from && !reads.test(name))
    disk.plan(...Array.from({ length: 50 }, (_, i) => ({ at: first + 1 + i, code })))
    await expectRefused(disk, 'store_unusable', new RegExp(`${folder}.*${advice}`))
  }
})

test('a folder that is a file is told as that', async () => {
  const disk = new FaultyDisk(1)
  await disk.fileSystem().makeFolder('/')
  disk.put(folder, Buffer.from('a file'))
  await expect(source(disk).open()).rejects.toMatchObject({
    code: 'store_unusable',
    message: expect.stringContaining('it is not a folder'),
  })
})

test('a line that is missing between whole lines is damage: no commit goes missing unseen', async () => {
  const name = 'journal-00000001.jsonl'
  const file = (await filled(1e9, 20)).file(`${folder}/${name}`)
  const lines = Buffer.from(file.slice(0, file.lastIndexOf(10) + 1))
    .toString('latin1')
    .split(/(?<=\n)/)
  // Line 1 is the header, commit n is in line n + 1.
  for (let missing = 1; missing < lines.length - 1; missing++) {
    const disk = new FaultyDisk(1)
    await disk.fileSystem().makeFolder(folder)
    const left = lines.filter((_, index) => index !== missing)
    disk.put(`${folder}/${name}`, Buffer.from(left.join(''), 'latin1'))
    await expectRefused(
      disk,
      'store_damaged',
      new RegExp(`${name}, line ${missing + 1}, .*commit ${missing + 1} follows commit ${missing - 1}`),
    )
  }
})

test('a hole in a batch that later batches stand upon is damage, not a torn end', async () => {
  const disk = await filled(1e9, 40)
  const name = 'journal-00000001.jsonl'
  const whole = disk.file(`${folder}/${name}`)
  for (const sector of [1, 2, 3]) {
    const damaged = new FaultyDisk(1)
    await damaged.fileSystem().makeFolder(folder)
    damaged.put(`${folder}/${name}`, whole.slice().fill(0, sector * 512, (sector + 1) * 512))
    await expectRefused(damaged, 'store_damaged', new RegExp(`${name}, line \\d+, byte \\d+`))
  }
})
