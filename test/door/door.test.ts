import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { memoryStore, StoreError } from '../../runtime/index.ts'
import { doorRig, type Rig, until } from './door_rig.ts'

let rig: Rig
beforeAll(async () => {
  rig = await doorRig()
})
afterAll(() => rig.stop())

describe('what is accepted', () => {
  test('a create answers 202 with a durable row, its id and its place', async () => {
    const { status, body, headers } = await rig.ask('POST', '/resources/volume', { name: 'data', size: 1 })
    expect(status).toBe(202)
    expect(body).toMatchObject({
      outcome: 'accepted',
      repeated: false,
      error: null,
      row: { status: 'creating' },
    })
    expect(headers.get('location')).toBe(`/resources/volume/${body.id}`)
    const shown = await rig.ask('GET', `/resources/volume/${body.id}`)
    expect(shown).toMatchObject({ status: 200, body: { id: body.id, kind: 'volume' } })
  })

  test('with ?wait a create answers 200 when it is done', async () => {
    const { status, body } = await rig.ask('POST', '/resources/volume?wait=10', { name: 'data', size: 1 })
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { outcome: 'done', row: { status: 'available' } },
    })
  })

  test('a wait that runs out answers 202 with the row as it is by then', async () => {
    const { id } = await rig.available()
    const { status, body } = await rig.ask('POST', `/resources/volume/${id}/extend?wait=0.05`, { size: 2 })
    expect({ status, body }).toMatchObject({
      status: 202,
      body: { outcome: 'accepted', row: { status: 'extending' } },
    })
    for (const gate of await rig.extending()) gate.go()
    await until(async () => (await rig.runtime.get('volume', id))?.status === 'available')
  })

  test('an operation that fails answers 200 with its outcome and its error', async () => {
    const { id } = await rig.available()
    const gates = await rig.extending(0)
    const before = gates.length
    const answer = rig.ask('POST', `/resources/volume/${id}/extend?wait=10`, { size: 2 })
    ;(await rig.extending(before + 1))[before]!.fail(new Error('no room'))
    expect(await answer).toMatchObject({
      status: 200,
      body: {
        outcome: 'failed',
        error: { code: 'driver_failed', message: 'no room' },
        row: { status: 'error_extending' },
      },
    })
  })

  test('an instant operation is done when it is answered', async () => {
    const { id } = await rig.available()
    const input = { host: 'web1', device: '/dev/vdb' }
    const { status, body } = await rig.ask('POST', `/resources/volume/${id}/attach`, input)
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { outcome: 'done', row: { status: 'in-use' } },
    })
  })

  test('a request id makes a create idempotent, by header and by query', async () => {
    const data = { name: 'once', size: 1 }
    const first = await rig.ask('POST', '/resources/volume', data, { 'request-id': 'r1' })
    const again = await rig.ask('POST', '/resources/volume?wait=10&request_id=r1', data)
    expect(again.body).toMatchObject({ id: first.body.id, repeated: true, outcome: 'done' })
    const other = await rig.ask('POST', '/resources/volume?request_id=r1', { ...data, size: 2 })
    expect(other).toMatchObject({ status: 409, body: { error: { code: 'request_reused' } } })
    const torn = await rig.ask('POST', '/resources/volume?request_id=r1', data, { 'request-id': 'r2' })
    expect(torn).toMatchObject({ status: 400, body: { error: { issues: [{ path: 'request_id' }] } } })
  })

  test('a cancel ends a running operation', async () => {
    const { id } = await rig.available()
    const before = (await rig.extending(0)).length
    await rig.ask('POST', `/resources/volume/${id}/extend`, { size: 2 })
    await rig.extending(before + 1)
    const { status, body } = await rig.ask('POST', `/resources/volume/${id}/cancel?wait=10`)
    expect({ status, body }).toMatchObject({ status: 200, body: { error: { code: 'cancelled' } } })
  })

  test('a cluster may be chosen for a new resource', async () => {
    const made = await rig.ask('POST', '/resources/volume?cluster=demo@noop', { name: 'data', size: 1 })
    expect(made).toMatchObject({ status: 202, body: { row: { cluster: 'demo@noop' } } })
    const wrong = await rig.ask('POST', '/resources/volume?cluster=dmo@noop', { name: 'data', size: 1 })
    expect(wrong).toMatchObject({ status: 404, body: { error: { code: 'unknown_cluster' } } })
    expect(wrong.body.error.message).toContain("did you mean 'demo@noop'?")
  })
})

describe('what is read', () => {
  test('a list is filtered and paged', async () => {
    const ids = [await rig.available(), await rig.available(), await rig.available()].map(({ id }) => id)
    const seen: string[] = []
    let after = ''
    do {
      const { body } = await rig.ask('GET', `/resources/volume?status=available&limit=2${after}`)
      expect(body.rows.length).toBeLessThanOrEqual(2)
      seen.push(...body.rows.map(({ id }: { id: string }) => id))
      after = body.next === null ? '' : `&after=${body.next}`
    } while (after !== '')
    expect(seen).toEqual([...new Set(seen)])
    expect(seen).toEqual(expect.arrayContaining(ids))
  })

  test('nodes, clusters, what is stuck and an index of it all are there', async () => {
    const { body: nodes } = await rig.ask('GET', '/nodes')
    expect(nodes.nodes.map(({ host }: { host: string }) => host)).toEqual(['h1', 'h2', 'h3'])
    const { body: clusters } = await rig.ask('GET', '/clusters')
    expect(clusters.clusters).toMatchObject([{ topic: 'demo@noop', up: true }])
    expect((await rig.ask('GET', '/stuck')).body).toEqual({ stuck: [] })
    const { body: index } = await rig.ask('GET', '/')
    expect(index).toMatchObject({ name: 'rekindle', state: 'open' })
    expect(index.kinds.map(({ kind }: { kind: string }) => kind)).toEqual(['volume', 'snapshot', 'backup'])
  })
})

describe('what is refused', () => {
  test('a refused operation answers 409 with what was expected and found', async () => {
    const { id } = await rig.available()
    expect(await rig.ask('POST', `/resources/volume/${id}/detach`)).toMatchObject({
      status: 409,
      body: {
        error: { code: 'refused', expected: ['in-use', 'detaching'], found: 'available', guard: null },
      },
    })
  })

  test('a guard that says no is named', async () => {
    const { id } = await rig.available(2)
    const { status, body } = await rig.ask('POST', `/resources/volume/${id}/extend`, { size: 1 })
    expect({ status, body }).toMatchObject({
      status: 409,
      body: { error: { code: 'refused', guard: 'isLarger' } },
    })
  })

  test.each([
    ['GET', '/resources/volme', 'unknown_kind', "did you mean 'volume'?"],
    ['POST', '/resources/volume/x1/extnd', 'unknown_operation', "did you mean 'extend'?"],
    ['GET', '/resources/volume?status=avalable', 'unknown_status', "did you mean 'available'?"],
    ['GET', '/resources/volume/nope', 'unknown_id', 'nope'],
    ['POST', '/resources/volume/nope/delete', 'unknown_id', 'nope'],
    ['POST', '/resources/volume/nope/cancel', 'unknown_id', 'nope'],
    ['POST', '/nodes/h9/kill', 'unknown_node', 'did you mean'],
    ['POST', '/nodes/h1/explode', 'unknown_route', 'kill, drain, start'],
    ['GET', '/nothing/here', 'unknown_route', 'GET /'],
  ])('%s %s is not found, and what is near is suggested', async (method, path, code, hint) => {
    const { status, body } = await rig.ask(method, path)
    expect({ status, code: body.error.code }).toEqual({ status: 404, code })
    expect(body.error.message).toContain(hint)
  })

  test.each([
    ['a missing field', { name: 'data' }, 'size'],
    ['a wrong type', { name: 5, size: 1 }, 'name'],
    ['a negative size', { name: 'data', size: -1 }, 'size'],
    ['an absurd size', { name: 'data', size: 1e300 }, 'size'],
    ['a field that is not there', { name: 'data', size: 1, colour: 'red' }, ''],
    ['a long name', { name: 'x'.repeat(5_000), size: 1 }, 'name'],
  ])('%s answers 400 and names the field', async (_, body, field) => {
    const answer = await rig.ask('POST', '/resources/volume', body)
    expect(answer).toMatchObject({ status: 400, body: { error: { code: 'bad_input' } } })
    expect(answer.body.error.issues.map(({ path }: { path: string }) => path)).toContain(field)
  })

  test.each(['__proto__', 'constructor', 'prototype'])(
    'a field named %s is refused at any depth',
    async (name) => {
      for (const body of [`{"${name}":{"size":1}}`, `{"name":"a","size":1,"deep":[{"in":{"${name}":1}}]}`]) {
        const answer = await rig.ask('POST', '/resources/volume', body, {
          'content-type': 'application/json',
        })
        expect(answer).toMatchObject({ status: 400, body: { error: { code: 'bad_input' } } })
        expect(answer.body.error.issues[0].path).toContain(name)
      }
      expect(({} as { size?: number }).size).toBeUndefined()
    },
  )

  test.each([
    '..%2F..%2Fetc%2Fpasswd',
    '%00',
    'a%00b',
    '%2e%2e%5cx',
    'a%2Fb',
    `${'x'.repeat(200)}`,
    '%F0%9F%98%80',
  ])('the id %s is refused', async (id) => {
    for (const [method, path] of [
      ['GET', `/resources/volume/${id}`],
      ['POST', `/resources/volume/${id}/delete`],
      ['POST', `/resources/volume/${id}/cancel`],
    ] as const)
      expect(await rig.ask(method, path)).toMatchObject({
        status: 400,
        body: { error: { code: 'bad_input' } },
      })
  })

  test.each([
    ['not JSON', '{"name":', 'bad_json'],
    ['not UTF-8', new Uint8Array([0x7b, 0xff, 0x7d]), 'bad_json'],
    ['a list', '[]', 'bad_input'],
    ['null', 'null', 'bad_input'],
    ['text', '"name"', 'bad_input'],
    ['nested a thousand deep', `{"name":${'['.repeat(1_000)}${']'.repeat(1_000)}}`, 'bad_input'],
    ['nested half a million deep', `{"name":${'['.repeat(500_000)}${']'.repeat(500_000)}}`, 'bad_input'],
  ])('a body that is %s answers 400', async (_, body, code) => {
    const answer = await rig.ask('POST', '/resources/volume', body, { 'content-type': 'application/json' })
    expect(answer).toMatchObject({ status: 400, body: { error: { code } } })
  })

  test('a body of another content type answers 415', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx'])
      expect(
        await rig.ask('POST', '/resources/volume', '{"name":"a","size":1}', { 'content-type': type }),
      ).toMatchObject({ status: 415, body: { error: { code: 'wrong_content_type' } } })
  })

  test('a body over 1 MiB answers 413, whether its length is told or not', async () => {
    const ten = `{"name":"${'x'.repeat(10 << 20)}","size":1}`
    const type = { 'content-type': 'application/json' }
    expect(await rig.ask('POST', '/resources/volume', ten, type)).toMatchObject({
      status: 413,
      body: { error: { code: 'body_too_large' } },
    })
    let sent = 0
    const endless = new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(64 * 1024).fill(0x20))
        sent += 64 * 1024
      },
    })
    expect(await rig.ask('POST', '/resources/volume', endless, type)).toMatchObject({ status: 413 })
    expect(sent).toBeLessThan(2 << 20)
  })

  test('a parameter that is not known, or makes no sense, is named', async () => {
    for (const [path, name] of [
      ['/resources/volume?statsu=error', 'statsu'],
      ['/resources/volume?limit=0', 'limit'],
      ['/resources/volume?limit=many', 'limit'],
      ['/resources/volume?after=../x', 'after'],
      ['/resources/volume?status=error&status=error', 'status'],
      ['/events?from=-1', 'from'],
      ['/events?from=99999999', 'from'],
      ['/nodes?x=1', 'x'],
    ] as const) {
      const { status, body } = await rig.ask('GET', path)
      expect({ status, path: body.error.issues[0].path }).toEqual({ status: 400, path: name })
    }
    for (const wait of ['-1', 'long', '1e9', 'NaN'])
      expect(await rig.ask('POST', `/resources/volume?wait=${wait}`, { name: 'a', size: 1 })).toMatchObject({
        status: 400,
        body: { error: { issues: [{ path: 'wait' }] } },
      })
  })

  test('a new resource has no id to be chosen by a caller', async () => {
    const answer = await rig.ask('POST', '/resources/volume/mine/create', { name: 'data', size: 1 })
    expect(answer).toMatchObject({ status: 400, body: { error: { code: 'bad_input' } } })
    expect(await rig.runtime.get('volume', 'mine')).toBeUndefined()
    const wrong = await rig.ask('POST', '/resources/volume?operation=delete')
    expect(wrong).toMatchObject({ status: 400, body: { error: { issues: [{ path: 'operation' }] } } })
  })

  test('input for what takes none is refused', async () => {
    const { id } = await rig.available()
    for (const path of [
      `/resources/volume/${id}/begin_detaching`,
      `/resources/volume/${id}/cancel`,
      '/nodes/h1/kill',
    ])
      expect(await rig.ask('POST', path, { now: true })).toMatchObject({
        status: 400,
        body: { error: { issues: [{ path: 'now' }] } },
      })
  })

  test('another method answers 405 and names those that are there', async () => {
    const { status, headers } = await rig.ask('DELETE', '/resources/volume/x1')
    expect({ status, allow: headers.get('allow') }).toEqual({ status: 405, allow: 'GET' })
    expect((await rig.ask('PUT', '/nodes')).status).toBe(405)
  })

  test('a foreign Host or Origin answers 403 at a loopback door', async () => {
    const from = async (url: string, headers = {}) =>
      (await rig.door.fetch(new Request(url, { headers }))).status
    for (const host of ['evil.example', '127.0.0.1.evil.example', 'localhost.evil.example', '10.0.0.1'])
      expect(await from(`http://${host}:7878/nodes`)).toBe(403)
    for (const host of ['localhost', '127.0.0.1', '[::1]'])
      expect(await from(`http://${host}:7878/nodes`)).toBe(200)
    for (const origin of ['https://evil.example', 'null', 'http://localhost:3000', 'http://127.0.0.1'])
      expect(await from('http://127.0.0.1:7878/nodes', { origin })).toBe(403)
    expect(await from('http://127.0.0.1:7878/nodes', { origin: 'http://127.0.0.1:7878' })).toBe(200)
  })
})

test('a node that is killed can be started, and is not killed twice', async () => {
  const own = await doorRig()
  const isOver = () => own.runtime.nodes().find(({ host }) => host === 'h1')?.here === null
  expect(await own.ask('POST', '/nodes/h1/start')).toMatchObject({
    status: 409,
    body: { error: { code: 'node_running' } },
  })
  expect(await own.ask('POST', '/nodes/h1/kill')).toMatchObject({ status: 202, body: { asked: 'kill' } })
  await until(isOver)
  for (const action of ['kill', 'drain'])
    expect(await own.ask('POST', `/nodes/h1/${action}`)).toMatchObject({
      status: 409,
      body: { error: { code: 'node_not_running' } },
    })
  expect(await own.ask('POST', '/nodes/h1@noop/start')).toMatchObject({ status: 202 })
  await until(() => own.runtime.nodes().find(({ host }) => host === 'h1')?.here?.state === 'up')
  await own.stop()
})

test('where no cluster is up a create answers 503 and leaves no trace', async () => {
  const own = await doorRig({
    settings: { heartbeat_ms: 100, fence_after_ms: 250, down_after_ms: 500, sweep_ms: 50 },
  })
  for (const host of ['h1', 'h2', 'h3']) own.runtime.node(host).kill()
  await until(() => own.runtime.nodes().every(({ state }) => state === 'down'))
  const answer = await own.ask('POST', '/resources/volume', { name: 'data', size: 1 })
  expect(answer).toMatchObject({ status: 503, body: { error: { code: 'no_cluster' } } })
  expect(await own.runtime.count('volume')).toBe(0)
  await own.stop()
})

test('a parent that is not there answers 404 and leaves no trace', async () => {
  const answer = await rig.ask('POST', '/resources/snapshot', { name: 's', volume_id: 'nope' })
  expect(answer).toMatchObject({ status: 404, body: { error: { code: 'unknown_id' } } })
  expect(await rig.runtime.count('snapshot')).toBe(0)
})

test('a store that refuses to write answers 503 and leaves no trace', async () => {
  let isFull = false
  const own = await doorRig({
    store: {
      name: 'a full disk',
      async open() {
        const store = await memoryStore().open()
        const transact = store.transact.bind(store)
        store.transact = async (...given) => {
          if (isFull) throw new StoreError('store_refused', 'the disk is full')
          return transact(...given)
        }
        return store
      },
    },
  })
  isFull = true
  const answer = await own.ask('POST', '/resources/volume', { name: 'data', size: 1 })
  expect(answer).toMatchObject({ status: 503, body: { error: { code: 'store_refused' } } })
  expect(answer.headers.get('retry-after')).toBe('1')
  isFull = false
  expect(await own.runtime.count('volume')).toBe(0)
  await own.stop()
})

test('a runtime that stops answers 503; a wait that it ends answers what was accepted', async () => {
  const own = await doorRig()
  const { id } = await own.available()
  const waiting = own.ask('POST', `/resources/volume/${id}/extend?wait=30`, { size: 2 })
  await own.extending()
  const stopped = own.runtime.stop({ within_ms: 0 })
  expect(await own.ask('GET', '/nodes')).toMatchObject({ status: 503, body: { error: { code: 'stopped' } } })
  expect(await own.ask('POST', '/resources/volume', { name: 'a', size: 1 })).toMatchObject({ status: 503 })
  expect(await waiting).toMatchObject({ status: 202, body: { id, outcome: 'accepted' } })
  await stopped
  await own.stop()
})

test('a fault of our own answers 500 without a word of the inside, and the log has it', async () => {
  const own = await doorRig()
  own.runtime.list = async () => {
    throw new TypeError("can't read the secret at /home/me")
  }
  const { status, text } = await own.ask('GET', '/resources/volume')
  expect(status).toBe(500)
  expect(text).not.toMatch(/secret|home|TypeError|at .*\.ts/)
  expect(own.logged.join()).toContain('secret')
  await own.stop()
})
