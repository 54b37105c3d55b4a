// The configuration file of serve: everything that is wrong with one is told at once, and what is right is what
// runs.

import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { configurationSchema, parseConfiguration } from '../../runtime/command/configuration.ts'
import { planFrom } from '../../runtime/command/serve_plan.ts'
import { realEnvironment } from '../../runtime/index.ts'
import { root } from '../architecture/source.ts'
import { builtCommand, ends, run } from '../kit/built.ts'
import { tempFolder } from './serve_rig.ts'

const folder = tempFolder()
afterAll(() => folder.remove())
const at = (name: string) => join(folder.path, name)

function written(name: string, value: unknown): string {
  writeFileSync(at(name), typeof value === 'string' ? value : JSON.stringify(value))
  return at(name)
}

const faultsOf = (value: unknown) =>
  Object.fromEntries(
    parseConfiguration(JSON.stringify(value)).faults.map(({ path, message }) => [path, message]),
  )

const plan = (value: unknown, flags: Parameters<typeof planFrom>[0] = {}) =>
  planFrom({ config: written('plan.json', value), ...flags }, realEnvironment())

const NODE = { cluster: 'a', backend: 'noop', hosts: ['h1'] }
const TOKEN = 'a-token-of-enough-characters'

describe('A configuration', () => {
  test.each([
    [{ dta: 'x' }, { dta: "is not known here; did you mean 'data'?" }],
    [{ door: { port: '80' } }, { 'door.port': 'is "80"; a number is needed' }],
    [{ door: { port: 65_536 } }, { 'door.port': 'is 65536; a port is at most 65535' }],
    [{ door: { prt: 1 } }, { 'door.prt': "is not known here; did you mean 'port'?" }],
    [{ door: { zzz: 1 } }, { 'door.zzz': 'is not known here; known: host, port, names, token_file' }],
    [
      { log: { format: 'jsn' } },
      { 'log.format': 'is "jsn"; one of text, json is needed; did you mean \'json\'?' },
    ],
    [{ settings: { heartbeat: 5 } }, { 'settings.heartbeat': expect.stringContaining("'heartbeat_ms'") }],
    [{ settings: { attempts: 0 } }, { 'settings.attempts': expect.stringContaining('is 0; ') }],
    [
      { settings: { fence_after_ms: 9_000 } },
      { 'settings.fence_after_ms': expect.stringContaining('three quarters of down_after_ms') },
    ],
    [{ nodes: [] }, { nodes: 'is []; at least one is needed' }],
    [{ nodes: [{ backend: 'noop' }] }, { 'nodes[0].hosts': 'is missing; a list is needed' }],
    [
      { nodes: [{ ...NODE, hosts: ['a b'] }] },
      { 'nodes[0].hosts[0]': expect.stringContaining('is "a b"; 1 to 63 letters') },
    ],
    [
      { nodes: [NODE, { ...NODE, cluster: 'b', hosts: ['h2', 'h1'] }] },
      { 'nodes[1].hosts[1]': expect.stringContaining('is h1@noop, as nodes[0].hosts[0] is') },
    ],
    [[], { '': 'is []; an object is needed' }],
  ])('%j is refused by its path, with its value and a hint', (value, faults) => {
    expect(faultsOf(value)).toEqual(faults)
  })

  test('that is no JSON is told with line and column', () => {
    const { faults } = parseConfiguration('{\n  "data": "x",\n  oops\n}')
    expect(faults).toEqual([{ path: '', message: expect.stringContaining('(line 3, column 3)') }])
  })

  test('tells all that is wrong in one report: shape, settings, hosts, files, drivers, placement', async () => {
    const bad = {
      ...{ dta: 'x', definitions: ['./none.js'], settings: { fence_after_ms: 9_000 } },
      door: { host: '0.0.0.0' },
      nodes: [
        { backend: 'fil', hosts: ['h1'] },
        { backend: 'file', hosts: ['h1', 'h1'], options: { piece_bites: 1 } },
        { backend: 'noop', hosts: [] },
        { backend: 'dns', hosts: ['h1'], driver: './none.js' },
      ],
      placement: { specs: { volum: { field: 'type', types: {} } } },
    }
    const { code, stdout, stderr } = await ends(['config', 'check', written('bad.json', bad), '--json'])
    const { error } = JSON.parse(stdout)
    expect({ code, kind: error.code }).toEqual({ code: 2, kind: 'bad_configuration' })
    const paths = error.issues.map(({ path }: { path: string }) => path)
    expect(paths.sort()).toEqual([
      ...['definitions[0]', 'door.host', 'dta', 'nodes[0].backend', 'nodes[1].hosts[1]'],
      ...['nodes[1].options.piece_bites', 'nodes[2].hosts', 'nodes[3].driver', 'placement.specs.volum'],
      'settings.fence_after_ms',
    ])
    for (const path of paths) expect(stderr).toContain(`\n  ${path} `)
    const serving = await ends(['serve', '--config', at('bad.json'), '--data', at('never'), '--port', '0'])
    expect({ code: serving.code, stderr: serving.stderr }).toEqual({ code: 2, stderr })
  })

  test('has a JSON schema that describes every section', async () => {
    const { code, stdout } = await ends(['config', 'schema'])
    expect({ code, schema: JSON.parse(stdout) }).toEqual({ code: 0, schema: configurationSchema() })
    const properties = Object.entries(configurationSchema().properties!)
    expect(properties.filter(([name, { description }]) => name !== 'settings' && !description)).toEqual([])
  })
})

describe('A plan', () => {
  test('takes paths from where the file is, and flags before the file', async () => {
    const value = {
      ...{ data: 'kept', door: { port: 1_234 }, log: { format: 'json' }, settings: { attempts: 2 } },
      nodes: [{ ...NODE, backend: 'file', folder: 'disks' }],
    }
    const own = await plan(value)
    expect(own).toMatchObject({ data: at('kept'), port: 1_234, host: '127.0.0.1', settings: { attempts: 2 } })
    expect(own.log).toEqual({ format: 'json', level: 'info' })
    expect(own.nodes).toMatchObject([{ topic: 'a@file', own_folder: null, driver: 'file' }])
    const flags = { data: 'other', port: 0, log: 'text', nodes: ['b@noop:x,y'], settings: '{"cleanups":7}' }
    const over = await plan(value, flags as never)
    expect(over).toMatchObject({ data: 'other', port: 0, settings: { attempts: 2, cleanups: 7 } })
    expect(over.nodes.map(({ topic, config }) => `${topic} ${config.host}`)).toEqual(['b@noop x', 'b@noop y'])
  })

  test('gives nodes without a cluster a topic and a folder each', async () => {
    const { nodes } = await plan({ data: 'd', nodes: [{ backend: 'file', hosts: ['h1', 'h2'] }] })
    expect(nodes.map(({ topic, own_folder }) => [topic, own_folder])).toEqual([
      ['h1@file', at('d/images/h1@file')],
      ['h2@file', at('d/images/h2@file')],
    ])
  })

  test('needs a token where other machines reach the door, and takes it from file or environment', async () => {
    await expect(plan({}, { host: '0.0.0.0' })).rejects.toThrow('--host 0.0.0.0: other machines can reach it')
    const token_file = 'token'
    written(token_file, `${TOKEN}\n`)
    expect(await plan({ door: { host: '0.0.0.0', token_file } })).toMatchObject({ token: TOKEN })
    expect(await plan({}, { host: '::', tokenFile: at('token') })).toMatchObject({ token: TOKEN })
    written('short', 'secret')
    await expect(plan({ door: { token_file: 'short' } })).rejects.toThrow(
      '16 to 512 visible ASCII characters',
    )
    await expect(plan({}, { tokenFile: at('none') })).rejects.toThrow("can't be read (ENOENT)")
  })
})

const TYPE = `
import { defineResource } from 'rekindle'
import { z } from 'zod'
export const lamp = defineResource({
  kind: 'lamp', data: z.strictObject({ name: z.string() }), statuses: ['on', 'error'],
  operations: {
    create: { from: 'new', via: 'lighting', to: 'on', failed: 'error', cleanup: 'requeue' },
    remove: { from: ['on', 'error'], via: 'removing', to: 'gone', failed: 'error', cleanup: 'requeue' },
  },
})
`
const DRIVER = `
export const driver = ({ topic, folder, options }) => ({
  operations: { lamp: { create: async ({ log }) => log(topic + ' ' + folder + ' ' + options.colour) } },
})
`

test('serve takes the file of its working folder, with types and drivers of your own, and logs JSON', async () => {
  const own = at('own')
  mkdirSync(join(own, 'node_modules'), { recursive: true })
  // As installed packages: imports are found from where the files are.
  const built = join(dirname(await builtCommand()), '../../..')
  symlinkSync(built, join(own, 'node_modules/rekindle'))
  symlinkSync(join(root, 'node_modules/zod'), join(own, 'node_modules/zod'))
  writeFileSync(join(own, 'lamp.mjs'), TYPE)
  writeFileSync(join(own, 'driver.mjs'), DRIVER)
  const lamps = {
    cluster: 'l',
    backend: 'house',
    hosts: ['h1'],
    driver: './driver.mjs',
    options: { colour: 'red' },
  }
  const value = {
    ...{ data: 'kept', door: { port: 0 }, log: { format: 'json', level: 'debug' } },
    ...{ definitions: ['lamp.mjs'], nodes: [{ ...NODE, backend: 'file' }, lamps] },
  }
  writeFileSync(join(own, 'rekindle.config.json'), JSON.stringify(value))
  const checked = await ends(['config', 'check', 'rekindle.config.json', '--json'], { cwd: own })
  expect(JSON.parse(checked.stdout)).toMatchObject({
    kinds: ['volume', 'snapshot', 'backup', 'lamp'],
    nodes: [{ driver: 'file' }, { driver: './driver.mjs' }],
  })

  const serve = await run(['serve'], { cwd: own })
  onTestFinished(() => void serve.process.kill('SIGKILL'))
  const [, url] = await serve.says(/"url":"([^"]+)"/)
  // Each goes where a driver knows its kind.
  const make = (kind: string, data: object, id: string) =>
    fetch(`${url}/resources/${kind}?wait=20&request_id=${id}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(data),
    }).then((answer) => answer.json() as Promise<{ id: string }>)
  const lamp = await make('lamp', { name: 'desk' }, 'order-1')
  expect(lamp).toMatchObject({ outcome: 'done', row: { status: 'on', cluster: 'l@house' } })
  const volume = await make('volume', { name: 'v', size: 0.01 }, 'order-2')
  expect(volume).toMatchObject({ outcome: 'done', row: { cluster: 'a@file' } })
  serve.process.kill('SIGTERM')
  const { code, stdout, stderr } = await serve.ended
  expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
  const entries = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const about = { kind: 'lamp', id: lamp.id, operation: 'create', request_id: 'order-1' }
  expect(entries).toContainEqual(
    expect.objectContaining({
      ...{ level: 'info', ...about, node: 'h1@house', topic: 'l@house', fence: 1 },
      message: expect.stringContaining(`create: l@house ${join(own, 'kept/backends/l@house')} red`),
    }),
  )
  expect(entries).toContainEqual(expect.objectContaining({ level: 'debug', ...about, status: 'on' }))
  for (const { time } of entries) expect(time).toMatch(/^\d{4}-.*Z$/)
})
