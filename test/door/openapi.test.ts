// The document says what the door does: every route is in it, each kind and operation with its own schema, and
// what the door answers is what the document says.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { createDoor } from '../../runtime/http/index.ts'
import { defineResource, type ResourceType, type Runtime } from '../../runtime/index.ts'
import { faultIn, Judge, type OpenApi } from './document.ts'
import { doorRig, type Rig } from './door_rig.ts'

let rig: Rig
let document: OpenApi
beforeAll(async () => {
  rig = await doorRig()
  document = (await rig.ask('GET', '/openapi.json')).body
})
afterAll(() => rig.stop())

const fits = (pattern: string, path: string) => {
  const [wanted, given] = [pattern.split('/'), path.split('/')]
  return (
    wanted.length === given.length && wanted.every((part, i) => part.startsWith(':') || part === given[i])
  )
}

test('it is a valid OpenAPI 3.1 document, with a token and without', async () => {
  expect(document.openapi).toMatch(/^3\.1\./)
  expect(await faultIn(document)).toBe(null)
  const token = 'a-token-of-16-and-more'
  const guarded = createDoor(rig.runtime, { token })
  const answer = await guarded.fetch(
    new Request('http://localhost/openapi.json', { headers: { authorization: `Bearer ${token}` } }),
  )
  const withToken = (await answer.json()) as OpenApi
  expect(await faultIn(withToken)).toBe(null)
  expect(withToken.paths['/nodes']!.get!.responses).toHaveProperty('401')
  expect(withToken.paths['/healthz']!.get).toMatchObject({ security: [] })
})

test('a document that is none is found out', async () => {
  expect(await faultIn({ ...document, paths: { nodes: { get: {} } } })).not.toBe(null)
  const judge = new Judge(document)
  const operation = judge.operation('GET', '/nodes')!
  expect(judge.fault(operation, 200, 'application/json', '{"nodes":[{"host":"h1"}]}')).toContain('cluster')
  expect(judge.fault(operation, 418, 'application/json', '{}')).toContain('418')
})

test('every route is in it, and every path of it leads to a route', async () => {
  const { body } = await rig.ask('GET', '/')
  const routes = (body.routes as { route: string }[]).map(({ route }) => route.split(' ') as [string, string])
  const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => [method.toUpperCase(), path] as const),
  )
  const missing = routes.filter(
    ([method, pattern]) => !documented.some(([of, path]) => of === method && fits(pattern, path)),
  )
  expect(missing).toEqual([])
  for (const [method, path] of documented) {
    const asked = path.replaceAll(/\{\w+\}/g, 'x1')
    const answer = await rig.door.fetch(new Request(`http://localhost${asked}`, { method }))
    const isJson = answer.headers.get('content-type')!.startsWith('application/json')
    const said = isJson ? ((await answer.json()) as { error?: { code: string } }) : {}
    if (!isJson) await answer.body?.cancel()
    expect(['unknown_route', 'method_not_allowed'], `${method} ${path}`).not.toContain(said.error?.code)
  }
})

test('every operation of every kind is in it by name, with the schema that its input is checked by', async () => {
  for (const { kind, table } of rig.runtime.kinds)
    for (const [name, operation] of Object.entries(table.operations)) {
      const path = operation.from === 'new' ? `/resources/${kind}` : `/resources/${kind}/{id}/${name}`
      const { post } = document.paths[path]!
      expect(post!.operationId).toBe(`${kind}.${name}`)
      const takes = operation.input ?? (operation.from === 'new' ? table.data : undefined)
      expect(post!.requestBody !== undefined, `${kind}.${name}`).toBe(takes !== undefined)
    }
  const { content } = document.paths['/resources/volume/{id}/extend']!.post!.requestBody!
  expect(content['application/json']!.schema).toEqual({ $ref: '#/components/schemas/input.volume.extend' })
  expect(document.components.schemas['input.volume.extend']).toMatchObject({
    type: 'object',
    properties: { size: { type: 'number', maximum: 65_536 } },
    required: ['size'],
    additionalProperties: false,
  })
})

test('operation ids are unique', () => {
  const ids = Object.values(document.paths).flatMap((methods) =>
    Object.values(methods).map(({ operationId }) => operationId),
  )
  expect(ids).toEqual([...new Set(ids)])
})

test('what the door answers is what the document says', async () => {
  const judge = new Judge(document)
  const { id } = await rig.available()
  const asked: [string, string, unknown?][] = [
    ['GET', '/'],
    ['GET', '/healthz'],
    ['GET', '/readyz'],
    ['GET', '/nodes'],
    ['GET', '/clusters'],
    ['GET', '/stuck'],
    ['GET', '/quotas'],
    ['GET', `/resources/volume/${id}`],
    ['GET', '/resources/volume?limit=1'],
    ['GET', '/resources/volume/nope'],
    ['POST', '/resources/volume', { name: 'b', size: 1, project: 'lab' }],
    ['POST', '/resources/volume?wait=10', { name: 'c', size: 1 }],
    ['POST', '/resources/volume', { name: 'b' }],
    ['POST', `/resources/volume/${id}/detach`],
    ['POST', `/resources/volume/${id}/attach`, { host: 'a', device: 'b' }],
    ['POST', '/quotas/lab', { volumes: 10 }],
    ['POST', '/nodes/h1/disable', { reason: 'new disks' }],
    ['POST', '/nodes/h1/enable'],
    ['POST', '/clusters/demo@noop/freeze', {}],
    ['POST', '/clusters/demo@noop/thaw'],
    ['POST', '/nodes/h9/disable', {}],
  ]
  for (const [method, path, body] of asked) {
    const { status, headers, text } = await rig.ask(method, path, body)
    const operation = judge.operation(method, path.split('?')[0]!)
    expect(judge.fault(operation!, status, headers.get('content-type')!, text), `${method} ${path}`).toBe(
      null,
    )
  }
})

test('answers have no field that the document does not name', async () => {
  const { id } = await rig.available()
  await rig.ask('POST', `/resources/volume/${id}/extend`, { size: 2 })
  const answers: [string, object][] = [
    ['node', (await rig.ask('GET', '/nodes')).body.nodes[0]],
    ['cluster', (await rig.ask('GET', '/clusters')).body.clusters[0]],
    ['resource.volume', (await rig.ask('GET', `/resources/volume/${id}`)).body],
    ['index', (await rig.ask('GET', '/')).body],
  ]
  for (const [name, answer] of answers)
    expect(Object.keys(document.components.schemas[name]!.properties as object), name).toEqual(
      expect.arrayContaining(Object.keys(answer)),
    )
})

test("a type's own schema of another library is said as it says itself, and any object where it says nothing", async () => {
  const operations = {
    create: { from: 'new', via: 'making', to: 'there', failed: 'there', cleanup: 'there' },
    delete: { from: 'there', via: 'deleting', to: 'gone', failed: 'there', cleanup: 'there' },
  } as const
  const silent = { '~standard': { version: 1, vendor: 'own', validate: (value: unknown) => ({ value }) } }
  const types = [
    defineResource({ kind: 'plain', data: silent as never, statuses: ['there'], operations }),
    defineResource({
      kind: 'dated',
      data: z.object({ at: z.date() }) as never,
      statuses: ['there'],
      operations,
    }),
    defineResource({
      kind: 'tree',
      data: z.strictObject({ value: z.json() }) as never,
      statuses: ['there'],
      operations,
    }),
  ] as readonly ResourceType[]
  const door = createDoor({ kinds: types, state: () => 'open' } as unknown as Runtime)
  const answer = await door.fetch(new Request('http://localhost/openapi.json'))
  const made = (await answer.json()) as OpenApi
  expect(await faultIn(made)).toBe(null)
  const { schemas } = made.components
  expect(schemas['input.plain.create']).toMatchObject({ type: 'object', description: expect.any(String) })
  expect(schemas['input.dated.create']).toEqual(schemas['input.plain.create'])
  // A schema that refers to itself still does, from where it stands.
  expect(JSON.stringify(schemas['input.tree.create'])).toContain(
    '#/components/schemas/input.tree.create/$defs/',
  )
})
