import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ends, run } from '../kit/built.ts'
import { end, type Served, served, tempFolder } from './serve_rig.ts'

const folder = tempFolder()
let live: Served
beforeAll(async () => {
  live = await served(folder.path)
})
afterAll(async () => {
  await end(live)
  folder.remove()
})

const made = async (name: string): Promise<string> =>
  (await live.json('create', 'volume', '--set', `name=${name}`, '--set', 'size=0.01', '--wait')).id

describe('what works', () => {
  test('create --wait --json prints the row as it came to rest', async () => {
    const row = await live.json('create', 'volume', '--set', 'name=data', '--set', 'size=0.01', '--wait')
    expect(row).toMatchObject({ kind: 'volume', id: expect.any(String), status: 'available', worker: null })
    expect(await live.json('show', 'volume', row.id)).toEqual(row)
  })

  test('create without --wait prints the accepted row', async () => {
    const row = await live.json('create', 'volume', '--set', 'name=data', '--set', 'size=0.01')
    expect(row).toMatchObject({ id: expect.any(String), status: 'creating' })
  })

  test('op --wait shows how it goes and ends with 0', async () => {
    const id = await made('grows')
    const { code, stdout, stderr } = await live.ask(
      'op',
      'volume',
      id,
      'extend',
      '--set',
      'size=0.02',
      '--wait',
    )
    expect({ code, stdout }).toEqual({ code: 0, stdout: `volume ${id} is available\n` })
    expect(stderr).toMatch(/extending, queued at demo@file\n[\s\S]*available\n$/)
  })

  test('list prints a table, and a JSON list with --json', async () => {
    const id = await made('listed')
    const { code, stdout } = await live.ask('list', 'volume', '--status', 'available')
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^ID +STATUS +WORKER/) })
    expect(stdout).toContain('name=listed')
    const rows = await live.json('list', 'volume')
    expect(rows.map((row: { id: string }) => row.id)).toContain(id)
    expect(await live.json('list', 'volume', '--limit', '1')).toHaveLength(1)
  })

  test('nodes, clusters and stuck tell who is there and what hangs', async () => {
    const nodes = await live.json('nodes')
    expect(nodes.map(({ host, state }: { host: string; state: string }) => `${host} ${state}`)).toEqual([
      'h1 up',
      'h2 up',
      'h3 up',
    ])
    expect(await live.json('clusters')).toMatchObject([{ topic: 'demo@file', up: true }])
    expect(await live.json('stuck')).toEqual([])
    expect((await live.ask('nodes')).stdout).toMatch(/^HOST +CLUSTER[\s\S]*h3 +demo@file +up/)
    expect((await live.ask('stuck')).stdout).toBe('nothing is stuck\n')
  })

  test('events --json prints one JSON value a line, from where it is told', async () => {
    const id = await made('watched')
    const events = await run(['events', '--from', '0', '--id', id, '--json', '--url', live.url])
    await events.says(/"status":"available"/)
    events.process.kill('SIGINT')
    const { code, stdout } = await events.ended
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(code).toBe(0)
    expect(lines[0].row.status).toBe('creating')
    expect(lines.every((event) => event.id === id || event.key === `volume/${id}`)).toBe(true)
  })

  test('a node is killed, seen to be down, and started', async () => {
    expect((await live.ask('node', 'kill', 'h3')).code).toBe(0)
    expect((await live.ask('node', 'kill', 'h3')).code).toBe(3)
    expect((await live.ask('node', 'start', 'h3')).code).toBe(0)
    expect((await live.ask('node', 'start', 'h3')).code).toBe(3)
    expect((await live.ask('node', 'kill', 'h9')).code).toBe(2)
  })

  test('the same request id gives the same resource', async () => {
    const args = ['create', 'volume', '--set', 'name=once', '--set', 'size=0.01', '--request-id', 'one']
    const first = await live.json(...args)
    expect((await live.json(...args, '--wait')).id).toBe(first.id)
    expect((await live.ask(...args.slice(0, -3), '--set', 'size=2', '--request-id', 'one')).code).not.toBe(0)
  })

  test('REKINDLE_URL says where, and a field in quotes is text', async () => {
    const args = ['create', 'volume', '--set', 'name="12"', '--set', 'size=0.01', '--json', '--wait']
    const { code, stdout } = await ends(args, { env: { REKINDLE_URL: live.url } })
    expect({ code, row: JSON.parse(stdout) }).toMatchObject({ code: 0, row: { data: { name: '12' } } })
  })
})

describe('what does not', () => {
  test.each([
    ['nothing', []],
    ['an unknown command', ['lst', 'volume']],
    ['a missing argument', ['show', 'volume']],
    ['an argument too many', ['nodes', 'h1']],
    ['an unknown option', ['list', 'volume', '--stats', 'x']],
    ['a field without a value', ['create', 'volume', '--set', 'name']],
    ['a field given twice', ['create', 'volume', '--set', 'size=1', '--set', 'size=2']],
    ['a limit that is no number', ['list', 'volume', '--limit', 'many']],
    ['an unknown kind', ['list', 'volme']],
    ['an unknown status', ['list', 'volume', '--status', 'avalable']],
    ['an unknown operation', ['op', 'volume', 'x', 'extnd']],
    ['an unknown id', ['show', 'volume', 'nope']],
    ['an id that leaves the folder', ['show', 'volume', '../../x']],
    ['an id that is a dot', ['show', 'volume', '..']],
    ['a negative size', ['create', 'volume', '--set', 'name=a', '--set', 'size=-1']],
    ['a prototype key', ['create', 'volume', '--set', 'name=a', '--set', 'size=1', '--set', '__proto__={}']],
  ])('%s: wrong usage ends with 2 and says why on stderr', async (_, args) => {
    const { code, stdout, stderr } = args.length > 1 ? await live.ask(...args) : await ends(args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).not.toMatch(/\n +at /)
    expect(stderr.length).toBeGreaterThan(10)
  })

  test('a name that is nearly right is suggested', async () => {
    expect((await live.ask('lst', 'volume')).stderr).toContain('Did you mean list?')
    expect((await live.ask('list', 'volme')).stderr).toContain("did you mean 'volume'?")
  })

  test('a refused operation ends with 3; with --json it says what was expected and found', async () => {
    const id = await made('refuses')
    const { code, stdout } = await live.ask('op', 'volume', id, 'detach', '--json')
    expect(code).toBe(3)
    expect(JSON.parse(stdout).error).toMatchObject({
      code: 'refused',
      expected: ['in-use', 'detaching'],
      found: 'available',
    })
  })

  test('no server ends with 4', async () => {
    const { code, stderr } = await ends(['list', 'volume', '--url', 'http://127.0.0.1:9'])
    expect({ code, stderr }).toEqual({ code: 4, stderr: expect.stringContaining('rekindle serve') })
  })

  test('a server that is something else ends with 4', async () => {
    for (const status of [200, 404, 500]) {
      const other = createServer((_, answer) => answer.writeHead(status).end('<html>hello</html>'))
      await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
      const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`
      const { code, stderr } = await ends(['nodes', '--url', url])
      expect({ code, stderr }).toEqual({ code: 4, stderr: expect.stringContaining('is not rekindle') })
      other.closeAllConnections()
      other.close()
    }
    expect((await ends(['nodes', '--url', 'nonsense'])).code).toBe(2)
  })
})

test('--version prints the version of the package; --help of every command ends with an example', async () => {
  expect(await ends(['--version'])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
  })
  const { stdout } = await ends(['--help'])
  const names = [...stdout.matchAll(/^ {2}([a-z]+)(?: |$)/gm)]
    .map(([, name]) => name!)
    .filter((name) => name !== 'help')
  expect(names).toEqual(
    expect.arrayContaining(['serve', 'demo', 'create', 'op', 'cancel', 'list', 'show', 'node', 'events']),
  )
  const helps = [[], ...names.map((name) => [name]), ['node', 'kill'], ['node', 'drain'], ['node', 'start']]
  const printed = await Promise.all(helps.map((name) => ends([...name, '--help'])))
  for (const { code, stdout } of printed)
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/\nExamples?:(?:\n {2}\$ rekindle .*)+\n$/),
    })
})

test.each(['Infinity', '1e999', ' ', 'many'])(
  'a limit given as %j is wrong usage, and takes no limit away',
  async (limit) => {
    const { code, stderr } = await ends(['quota', 'set', 'lab', `volumes=${limit}`])
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(`volumes=${limit}: say`) })
  },
)
