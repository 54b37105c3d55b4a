// `rekindle check` as it is shipped, on files as users write them: in a project of their own, with the package
// installed.

import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { builtCommand, ends } from '../kit/built.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rekindle-check-'))
  await mkdir(join(folder, 'node_modules'))
  const installed = resolve(dirname(await builtCommand()), '../../..')
  await symlink(installed, join(folder, 'node_modules/rekindle'), 'dir')
  const zod = resolve(import.meta.dirname, '../../node_modules/zod')
  await symlink(zod, join(folder, 'node_modules/zod'), 'dir')
}, 120_000)
afterAll(() => rm(folder, { recursive: true }))

const note = (change: string) => `
import { defineResource } from 'rekindle'
import { z } from 'zod'
export const note = defineResource({
  kind: 'note',
  data: z.strictObject({ text: z.string() }),
  statuses: ['ready', 'error'],
  operations: {
    create: { from: 'new', via: 'creating', to: 'ready', failed: 'error', cleanup: 'error' },
    delete: { from: ['ready', 'error'], via: 'deleting', to: 'gone', failed: 'error', cleanup: 'requeue' },
    ${change}
  },
})
`
const inputs = "export const inputs = { note: { create: [{ text: 'hello' }] } }\n"

async function checked(name: string, text: string, ...options: string[]) {
  await writeFile(join(folder, name), text)
  return ends(['check', name, ...options], { cwd: folder })
}

test('a sound type holds: every check is told, and the command ends with 0', async () => {
  const { code, stdout, stderr } = await checked('note.js', note('') + inputs)
  expect(stdout, stderr).toContain('all holds')
  expect(stdout).toMatch(/^ok {2}note: dead ends: none in \d+ states$/m)
  expect(stdout).toMatch(/^ok {2}note: exploration: \d+ states, one crash at every moment$/m)
  expect(stdout).toMatch(/^ok {2}note: simulation: 5 seeds, \d+ steps$/m)
  expect(code).toBe(0)
})

test('--json prints one value with the verdict, every check and the matrix', async () => {
  const { stdout, code } = await checked('json.js', note('') + inputs, '--json', '--seeds', '0')
  const { verdict, checks, matrices } = JSON.parse(stdout)
  expect([verdict, code]).toEqual(['holds', 0])
  expect(checks.map(({ check }: { check: string }) => check)).toEqual([
    ...['table', 'matrix', 'dead ends', 'exploration'],
  ])
  expect(matrices.note).toMatch(/^# note\n/)
})

test('a mistake in a table ends with 2 and names the file, the operation and the value', async () => {
  const wrong = "grow: { from: 'ready', via: 'growing', to: 'reddy', failed: 'error', cleanup: 'error' },"
  const { code, stderr } = await checked('wrong.js', note(wrong))
  expect(stderr).toMatch(/wrong\.js: .*operation 'grow', to: unknown status 'reddy'; did you mean 'ready'/)
  expect(code).toBe(2)
})

test('an input that does not fit ends with 2 and names operation and field', async () => {
  const { code, stdout } = await checked('unfit.js', note(''))
  expect(stdout).toMatch(/^VIOLATED {2}note: inputs: .*create of note: text: .*give inputs\.note\.create/m)
  expect(code).toBe(2)
})

test.each([
  ['missing.js', null, /missing\.js: there is no such file/],
  ['nothing.js', 'export const a = 1\n', /nothing\.js: it exports no resource type/],
  ['broken.js', 'export const =\n', /broken\.js: /],
  ['note.txt', note(''), /note\.txt: it is '\.txt'; JavaScript .* is needed/],
])('%s is a bad file: 2 and a sentence', async (name, text, sentence) => {
  const { code, stderr } =
    text === null ? await ends(['check', name], { cwd: folder }) : await checked(name, text)
  expect(stderr).toMatch(sentence)
  expect(code).toBe(2)
})

test('TypeScript goes through the esbuild of the project', async () => {
  const esbuild = join(folder, 'node_modules/esbuild')
  await mkdir(esbuild)
  // What matters of it: it is asked to build this file to that one.
  await writeFile(
    join(esbuild, 'index.js'),
    "const { readFileSync, writeFileSync } = require('node:fs')\nexports.build = async ({ entryPoints, outfile }) =>\n  writeFileSync(outfile, readFileSync(entryPoints[0], 'utf8').replace(': string', ''))\n",
  )
  await writeFile(join(esbuild, 'package.json'), '{ "name": "esbuild", "main": "index.js" }')
  const { code, stdout, stderr } = await checked(
    'typed.ts',
    `${note('')}const hello: string = 'hello'\n${inputs.replace("'hello'", 'hello')}`,
    ...['--seeds', '0'],
  )
  await rm(esbuild, { recursive: true })
  expect(stdout, stderr).toContain('all holds')
  expect(code).toBe(0)
})

test('--help ends with examples', async () => {
  const { stdout, code } = await ends(['check', '--help'])
  expect(stdout).toContain('rekindle check dns_record.js')
  expect(code).toBe(0)
})
