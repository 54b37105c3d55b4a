// A cluster that was renamed finds its images under its new name: once, whatever is repeated, and never over
// what lies there already.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { moveFolders, movingFolders } from '../../runtime/command/renamed_folders.ts'
import type { PlannedNode } from '../../runtime/command/serve_plan.ts'
import { noopDriver } from '../../runtime/index.ts'
import { memoryStore, type Store } from '../../store/index.ts'
import { tempFolder } from './serve_rig.ts'

const folder = tempFolder()
afterAll(() => folder.remove())

let round = 0
let data: string
let store: Store
beforeEach(async () => {
  data = join(folder.path, String(round++))
  store = await memoryStore().open()
})

const at = (path: string) => join(data, path)

function file(path: string, text: string): void {
  mkdirSync(dirname(at(path)), { recursive: true })
  writeFileSync(at(path), text)
}

async function renamed(from: string, to: string): Promise<void> {
  const row = { kind: 'cluster', id: from, version: 1, renamed_to: to }
  await store.transact([{ key: `cluster/${from}`, version: 0 }], [{ put: row }])
}

function node(topic: string, home = 'images'): PlannedNode {
  const [cluster, backend] = topic.split('@') as [string, string]
  const config = { cluster, backend, host: 'h1', driver: noopDriver() }
  return { topic, own_folder: at(`${home}/${topic}`), driver: 'file', config }
}

test('the folder of a renamed cluster is moved, once; that of any other stays', async () => {
  file('images/h1@file/volumes/a', 'data')
  file('images/other@file/volumes/b', 'other')
  await renamed('h1@file', 'ssd@file')
  const nodes = [node('ssd@file'), node('other@file')]
  expect(await moveFolders(store, nodes)).toEqual([{ from: at('images/h1@file'), to: at('images/ssd@file') }])
  expect(readFileSync(at('images/ssd@file/volumes/a'), 'utf8')).toBe('data')
  expect(existsSync(at('images/h1@file'))).toBe(false)
  expect(existsSync(at('images/other@file/volumes/b'))).toBe(true)
  expect(await moveFolders(store, nodes)).toEqual([])
})

test('a cluster that was renamed twice is found under its last name', async () => {
  file('qcow2/a@qemu/volumes/a', 'data')
  await renamed('a@qemu', 'b@qemu')
  await renamed('b@qemu', 'c@qemu')
  await moveFolders(store, [node('c@qemu', 'qcow2')])
  expect(readFileSync(at('qcow2/c@qemu/volumes/a'), 'utf8')).toBe('data')
})

test('what a set-up made under the new name is no obstacle; files are, and nothing is moved over them', async () => {
  file('images/h1@file/volumes/a', 'data')
  file('images/ssd@file/last_setup', '')
  mkdirSync(at('images/ssd@file/volumes'))
  await renamed('h1@file', 'ssd@file')
  expect(await moveFolders(store, [node('ssd@file')])).toHaveLength(1)
  file('images/h1@file/volumes/b', 'late')
  await expect(moveFolders(store, [node('ssd@file')])).rejects.toThrow('both')
  expect(readFileSync(at('images/ssd@file/volumes/a'), 'utf8')).toBe('data')
  expect(readFileSync(at('images/h1@file/volumes/b'), 'utf8')).toBe('late')
})

test('a cluster whose nodes still run under the old name keeps its folder, and so does one with a given folder', async () => {
  file('images/h1@file/volumes/a', 'data')
  await renamed('h1@file', 'ssd@file')
  expect(await moveFolders(store, [node('ssd@file'), node('h1@file')])).toEqual([])
  expect(await moveFolders(store, [{ ...node('ssd@file'), own_folder: null }])).toEqual([])
  expect(existsSync(at('images/h1@file/volumes/a'))).toBe(true)
})

test('names that go round in a circle move nothing', async () => {
  file('images/a@file/volumes/a', 'data')
  await renamed('a@file', 'b@file')
  await renamed('b@file', 'a@file')
  await moveFolders(store, [node('a@file')])
  expect(existsSync(at('images/a@file/volumes/a'))).toBe(true)
})

test('while nodes of the new name run, files move one by one beside theirs; again it does nothing', async () => {
  file('images/h1@file/volumes/a', 'data')
  file('images/h1@file/backups/b1/manifest.json', '{}')
  file('images/h1@file/last_setup', '1')
  file('images/ssd@file/volumes/b', 'other')
  file('images/ssd@file/last_setup', '2')
  const move = movingFolders([node('ssd@file')])
  await move('h1@file', 'ssd@file')
  await move('h1@file', 'ssd@file')
  for (const [path, text] of [
    ['volumes/a', 'data'],
    ['volumes/b', 'other'],
    ['backups/b1/manifest.json', '{}'],
    ['last_setup', '2'],
  ] as const)
    expect(readFileSync(at(`images/ssd@file/${path}`), 'utf8')).toBe(text)
  expect(existsSync(at('images/h1@file'))).toBe(false)
})

test('a file that is in both folders is not overwritten: the renaming waits', async () => {
  file('images/h1@file/volumes/a', 'data')
  file('images/ssd@file/volumes/a', 'other')
  await expect(movingFolders([node('ssd@file')])('h1@file', 'ssd@file')).rejects.toThrow('are both there')
  expect(readFileSync(at('images/ssd@file/volumes/a'), 'utf8')).toBe('other')
  expect(readFileSync(at('images/h1@file/volumes/a'), 'utf8')).toBe('data')
})
