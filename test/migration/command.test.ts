// rekindle migrate as somebody types it: a folder that an older version left is looked at, migrated, and opened
// by what is newer alone.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { noopDriver } from '../../runtime/drivers/noop.ts'
import { createRuntime } from '../../runtime/index.ts'
import { jsonStore } from '../../store/index.ts'
import { builtCommand, ends } from '../kit/built.ts'
import { accepted } from '../kit/rig.ts'
import { tenant1 } from './tenants.ts'

let folder = ''
let data = ''

/** The definition as a user's file, in plain JavaScript; `statuses` maps what the old one called them. */
async function definitionFile(name: string, statuses: object): Promise<string> {
  const machines = join(dirname(await builtCommand()), '../../machines/index.js')
  const path = join(folder, name)
  await writeFile(
    path,
    `import { defineResource } from '${pathToFileURL(machines)}'
const statuses = ${JSON.stringify(statuses)}
export const tenant = defineResource({
  kind: 'tenant',
  version: 2,
  migrations: { 1: ({ status, ...row }) => ({ ...row, status: statuses[status] ?? status, data: { ...row.data, tags: [] } }) },
  data: { '~standard': { version: 1, vendor: 'own', validate: (value) => ({ value }) } },
  statuses: ['available', 'error'],
  operations: {
    create: { from: 'new', via: 'creating', to: 'available', failed: 'error', cleanup: 'error' },
    delete: { from: ['available', 'error'], via: 'deleting', to: 'gone', failed: 'error', cleanup: 'requeue' },
  },
})
`,
  )
  return path
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rekindle-migrate-'))
  data = join(folder, 'data')
  const runtime = await createRuntime({
    store: jsonStore(join(data, 'store')),
    resources: [tenant1],
    nodes: [{ cluster: 'lab', backend: 'noop', host: 'h1', driver: noopDriver() }],
  })
  for (const name of ['a', 'b']) await accepted(await runtime.tenant.create({ name, size: 1 })).settled()
  await runtime.stop()
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('a dry run tells what changes, a row that has no place refuses all, and then it is done once', async () => {
  const good = await definitionFile('good.mjs', { active: 'available' })
  const migrate = (file: string, ...more: string[]) =>
    ends(['migrate', '--data', data, '--definitions', file, ...more], { cwd: folder })

  const dry = await migrate(good, '--dry-run')
  expect(dry).toMatchObject({ code: 0 })
  expect(dry.stdout).toContain('tenant: 2 rows to version 2 (2 of version 1)')
  expect(dry.stdout).toMatch(/status +active → available +2\n +data, added +tags +2/)
  expect(dry.stdout).toContain('nothing was written: this was a dry run')

  const bad = await migrate(await definitionFile('bad.mjs', {}))
  expect(bad).toMatchObject({ code: 1 })
  expect(bad.stderr).toMatch(
    /2 rows can't be migrated, and nothing was written: tenant\/\w+, status: it is 'active'/,
  )

  const done = await migrate(good, '--json')
  expect(done).toMatchObject({ code: 0 })
  expect(JSON.parse(done.stdout)).toMatchObject({
    dry_run: false,
    kinds: [{ kind: 'tenant', rows: 2, faults: 0 }],
  })
  expect((await migrate(good)).stdout).toBe('nothing is to migrate: every row is of the version given\n')

  // What knows only the first version is kept out.
  await expect(
    createRuntime({ store: jsonStore(join(data, 'store')), resources: [tenant1], nodes: [] }),
  ).rejects.toMatchObject({ code: 'unknown_rows' })
})

test('a folder that somebody works on is left alone', async () => {
  const open = await jsonStore(join(data, 'store')).open()
  const file = await definitionFile('good.mjs', { active: 'available' })
  const refused = await ends(['migrate', '--data', data, '--definitions', file], { cwd: folder })
  expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining('is open in process') })
  await open.close()
})
