import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import { scan } from '../../runtime/drivers/file.ts'
import { until } from '../door/door_rig.ts'
import { ends, run } from '../kit/built.ts'
import { end, served, tempFolder } from './serve_rig.ts'

const folder = tempFolder()
afterAll(() => folder.remove())
const at = (name: string) => join(folder.path, name)
const VOLUME = ['create', 'volume', '--set', 'name=data', '--set', 'size=0.01']

test('it prints what runs where, and the three commands that it prints work when pasted', async () => {
  const live = await served(at('banner'))
  const { stdout } = live.serve.said
  expect(stdout).toContain(at('banner'))
  expect(stdout).toContain('h1, h2, h3 of demo@file')
  const commands = stdout.split('\n').filter((line) => /^ {2}\S.*main\.js /.test(line))
  expect(commands).toHaveLength(3)
  for (const command of commands) await promisify(execFile)('sh', ['-c', command.trim()])
  expect(await live.json('list', 'volume')).toMatchObject([{ status: 'available', data: { name: 'data' } }])
  await end(live)
})

test('what was accepted is there after kill -9, and comes to rest', async () => {
  const data = at('killed')
  const first = await served(data, '--work-ms', '400')
  const accepted: string[] = await Promise.all(
    Array.from({ length: 5 }, async () => (await first.json(...VOLUME)).id as string),
  )
  const { stdout } = await end(first)
  expect(stdout).not.toContain('stopped')
  const second = await served(data)
  const ids = (await second.json('list', 'volume')).map(({ id }: { id: string }) => id)
  expect(ids.sort()).toEqual(accepted.sort())
  const rows = await Promise.all(
    ids.map((id: string) => second.untilVolume(id, ({ operation }) => operation === null)),
  )
  const present = rows.filter(({ status }) => status === 'available').map(({ id }) => id)
  // A create that was cut off may have been made all the same; one that is available is there.
  expect((await scan(join(data, 'images', 'demo@file'))).volume).toEqual(expect.arrayContaining(present))
  await end(second)
})

test('a wait outlives a server that is killed and started again', async () => {
  const data = at('outlived')
  const first = await served(data, '--work-ms', '3000')
  const port = new URL(first.url).port
  const id = (await first.json(...VOLUME, '--wait')).id
  const waiting = await run(['op', 'volume', id, 'delete', '--wait', '--json', '--url', first.url])
  await waiting.says(/works on it/)
  await end(first)
  await waiting.says(/the server is gone/)
  const second = await served(data, '--port', port)
  const { code, stdout } = await waiting.ended
  expect({ code, row: JSON.parse(stdout) }).toMatchObject({ code: 0, row: { id, status: 'gone' } })
  await end(second)
})

test('Ctrl-C in a wait leaves the operation running, and says so', async () => {
  const live = await served(at('waits'), '--work-ms', '4000')
  const waiting = await run([...VOLUME, '--wait', '--url', live.url])
  await waiting.says(/works on it/)
  waiting.process.kill('SIGINT')
  const { code, stderr } = await waiting.ended
  expect(code).toBe(130)
  const [, id] = /the operation goes on: 'rekindle show volume (\S+)'/.exec(stderr)!
  await live.untilVolume(id!, ({ status }) => status === 'available')
  await end(live)
})

test('an operation that fails ends with 1, and its row is printed', async () => {
  const live = await served(at('fails'), '--work-ms', '20000')
  const creating = await run([...VOLUME, '--wait', '--json', '--url', live.url])
  const [, id] = await creating.says(/volume (\S+): creating, h\d@file works on it/)
  expect((await live.ask('cancel', 'volume', id!, '--wait')).code).toBe(0)
  const { code, stdout } = await creating.ended
  expect({ code, row: JSON.parse(stdout) }).toMatchObject({
    code: 1,
    row: { id, error: { code: 'cancelled' } },
  })
  expect((await live.ask('cancel', 'volume', id!)).code).toBe(3)
  await end(live)
})

test('SIGTERM drains: it says what it waits for, and what was under way is finished', async () => {
  const data = at('drained')
  const live = await served(data, '--work-ms', '3000')
  const { id } = await live.json(...VOLUME)
  await live.untilVolume(id, ({ incarnation }) => incarnation !== null)
  // Ctrl-C under npm comes twice: from the terminal, and passed on by npm. It is one wish.
  live.serve.process.kill('SIGINT')
  const { code, stderr } = await end(live, 'SIGTERM')
  expect(code).toBe(0)
  expect(stderr).toContain(`waiting for 1 under way (once more to end at once): volume ${id}`)
  expect(stderr).toContain(`volume ${id} is available`)
  expect(stderr).toMatch(/stopped; what is queued goes on at the next start\n$/)
  const again = await served(data)
  expect(await again.json('show', 'volume', id)).toMatchObject({ status: 'available' })
  await end(again)
})

test('a second signal ends it at once, and the next start puts right what was under way', async () => {
  const data = at('hurried')
  const live = await served(data, '--work-ms', '60000')
  const { id } = await live.json(...VOLUME)
  await live.untilVolume(id, ({ incarnation }) => incarnation !== null)
  live.serve.process.kill('SIGTERM')
  await live.serve.says(/waiting for 1 under way/)
  const ending = live.serve.ended
  let isOver = false
  void ending.then(() => {
    isOver = true
  })
  // Some of them come too soon to be a second wish.
  await until(() => isOver || !live.serve.process.kill('SIGINT'))
  expect((await ending).code).toBe(130)
  const again = await served(data)
  expect(await again.untilVolume(id, ({ operation }) => operation === null)).toMatchObject({
    status: 'error',
  })
  await end(again)
})

test('several clusters are served side by side', async () => {
  const live = await served(at('clusters'), '--nodes', 'ssd@file:a1,a2', '--nodes', 'null@noop:b1')
  expect((await live.json('clusters')).map(({ topic }: { topic: string }) => topic)).toEqual([
    'null@noop',
    'ssd@file',
  ])
  const row = await live.json(...VOLUME, '--cluster', 'null@noop', '--wait')
  expect(row).toMatchObject({ status: 'available', cluster: 'null@noop', host: 'b1' })
  await end(live)
})

test('a folder that another process has open is refused with its pid', async () => {
  const data = at('locked')
  const live = await served(data)
  const { code, stderr } = await ends(['serve', '--data', data, '--port', '0'])
  expect({ code, stderr }).toEqual({
    code: 3,
    stderr: expect.stringContaining(String(live.serve.process.pid)),
  })
  const port = new URL(live.url).port
  expect(await ends(['serve', '--data', at('other'), '--port', port])).toMatchObject({
    code: 3,
    stderr: expect.stringContaining(`port ${port} of 127.0.0.1 is taken`),
  })
  await end(live)
})

test.each([
  ['nodes that make no sense', ['--nodes', 'h1,h2'], 'cluster@backend:host,host'],
  ['a backend that is not there', ['--nodes', 'a@tape:h1'], "there is no backend 'tape'"],
  ['a host given twice', ['--nodes', 'a@file:h1,h1'], 'two nodes are given as h1@file'],
  ['settings that are not JSON', ['--settings', '{'], 'say a JSON object'],
  ['a setting that is none', ['--settings', '{"heartbeat":5}'], 'heartbeat is not a setting'],
  [
    'times that can not keep the promise',
    ['--settings', '{"fence_after_ms":8000}'],
    'fence_after_ms is 8000',
  ],
  ['a port that is none', ['--port', '70000'], '--port 70000'],
  [
    'an address of another machine',
    ['--host', '192.0.2.1'],
    'other machines can reach it, so a token is needed',
  ],
  ['a log that is none', ['--log', 'xml'], '--log xml: say one of text, json'],
])('%s: refused at start with 2', async (_, args, message) => {
  const given = args.includes('--port') ? args : ['--port', '0', ...args]
  const { code, stderr } = await ends(['serve', '--data', at('never'), ...given])
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(message) })
  expect(stderr).not.toMatch(/\n +at /)
})

test('a data folder that is a file, or was damaged, is told in words', async () => {
  writeFileSync(at('file'), 'hello')
  const isFile = await ends(['serve', '--data', at('file'), '--port', '0'])
  expect({ code: isFile.code, stderr: isFile.stderr }).toEqual({
    code: 1,
    stderr: expect.stringContaining('not a folder'),
  })
  mkdirSync(join(at('damaged'), 'store'), { recursive: true })
  writeFileSync(join(at('damaged'), 'store', 'manifest.json'), '{ "checksum": "00000000",\n"version": 1}')
  const damaged = await ends(['serve', '--data', at('damaged'), '--port', '0'])
  expect(damaged.code).toBe(1)
  expect(damaged.stderr).toContain('manifest.json')
  expect(damaged.stderr).not.toMatch(/\n +at /)
})

test('a drain is waited for until nothing is left, and tells what is', async () => {
  const live = await served(at('drains'), '--nodes', 'a@noop:h1', '--work-ms', '3000')
  const { id } = await live.json(...VOLUME)
  await live.untilVolume(id, ({ incarnation }) => incarnation !== null)
  const drained = await live.ask('node', 'drain', 'h1', '--wait', '--json')
  expect(drained.stderr).toBe(`h1: 1 left: volume ${id}\n`)
  expect(JSON.parse(drained.stdout)).toMatchObject({ node: { here: { state: 'draining', working_on: [] } } })
  expect(await live.json('show', 'volume', id)).toMatchObject({ status: 'available' })
  // What is accepted now waits for it.
  const { id: waits } = await live.json(...VOLUME)
  expect(await live.json('nodes')).toMatchObject([{ here: { working_on: [] } }])
  await live.json('node', 'start', 'h1')
  await live.untilVolume(waits, ({ status }) => status === 'available')
  await end(live)
})
