import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { doorRig, type Rig, until } from './door_rig.ts'

let rig: Rig
let id: string
beforeAll(async () => {
  rig = await doorRig()
  id = (await rig.available()).id
})
afterAll(() => rig.stop())

const RUNS = { numRuns: 400 }
const name = fc.oneof(
  fc.constantFrom(
    'volume',
    'snapshot',
    'backup',
    '__proto__',
    'constructor',
    'then',
    'service',
    'request',
    'beat',
  ),
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
)
const identity = fc.oneof(
  fc.constant('ID'),
  fc.constantFrom('..', '.', '../x', '\0', 'a b'),
  fc.string({ unit: 'binary' }),
)
const operation = fc.oneof(
  fc.constantFrom(
    'extend',
    'delete',
    'attach',
    'detach',
    'create',
    'cancel',
    'reset_status',
    'toString',
    '__proto__',
  ),
  fc.string(),
)
const segment = (text: string) => encodeURIComponent(isWellFormed(text) ? text : 'x')

test('no path, query or method answers 500, and every error has a code and a message', async () => {
  const method = fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD')
  const path = fc.array(
    fc.oneof(fc.constantFrom('resources', 'nodes', 'events', 'stuck'), name, identity, operation),
    { maxLength: 5 },
  )
  const query = fc.dictionary(
    fc.oneof(fc.constantFrom('status', 'limit', 'after', 'from', 'wait', 'cluster'), fc.string()),
    fc.string({ unit: 'binary' }),
    { maxKeys: 3 },
  )
  await fc.assert(
    fc.asyncProperty(method, path, query, async (method, path, query) => {
      const url = new URL(`http://localhost/${path.map(segment).join('/')}`)
      for (const [key, value] of Object.entries(query))
        if (isWellFormed(value) && isWellFormed(key)) url.searchParams.set(key, value)
      const answer = await rig.door.fetch(new Request(url, { method }))
      expect(answer.status, `${method} ${url}`).toSatisfy((status) => status < 500 || status === 503)
      if (answer.headers.get('content-type')?.startsWith('text/event-stream')) return answer.body?.cancel()
      const text = await answer.text()
      if (answer.status < 400 || method === 'HEAD') return
      expect(JSON.parse(text).error).toEqual(
        expect.objectContaining({ code: expect.any(String), message: expect.any(String) }),
      )
    }),
    RUNS,
  )
  expect(rig.logged).toEqual([])
})

test('no body answers 500, and what is refused changes nothing', async () => {
  const body = fc.oneof(
    fc.json({ maxDepth: 6 }),
    fc.string({ unit: 'binary' }),
    fc
      .object({
        key: fc.oneof(
          fc.constantFrom('name', 'size', 'volume_id', '__proto__', 'host', 'status'),
          fc.string(),
        ),
      })
      .map((value) => JSON.stringify(value)),
    fc
      .record({
        name: fc.oneof(fc.string(), fc.integer()),
        size: fc.oneof(fc.double(), fc.integer(), fc.string()),
      })
      .map((value) => JSON.stringify(value)),
  )
  await fc.assert(
    fc.asyncProperty(fc.option(operation), body, async (operation, body) => {
      const path = operation === null ? '/resources/volume' : `/resources/volume/${id}/${segment(operation)}`
      await atRest()
      const before = rig.runtime.offset()
      const answer = await rig.door.fetch(
        new Request(`http://localhost${path}?wait=0`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: isWellFormed(body) ? body : '\0',
        }),
      )
      expect(answer.status, `${path} ${body}`).toBeLessThan(500)
      const { error } = JSON.parse(await answer.text())
      if (answer.status < 400) return
      expect(error.code).toEqual(expect.any(String))
      expect(changesSince(before)).toEqual([])
    }),
    RUNS,
  )
  expect(rig.logged).toEqual([])
})

/** Half a surrogate pair can't be sent. */
function isWellFormed(text: string): boolean {
  return Buffer.from(text).toString() === text
}

/** Nothing is under way, and the volume to be asked is there. */
async function atRest(): Promise<void> {
  if ((await rig.runtime.get('volume', id))?.status === 'gone') id = (await rig.available()).id
  await until(async () => {
    for (const { go } of await rig.extending(0)) go()
    const { rows } = await rig.runtime.list('volume')
    return rows.every(({ operation }) => operation === null)
  })
}

/** The keys that were changed, save those of nodes, which beat as they like. */
function changesSince(offset: number): string[] {
  const keys: string[] = []
  rig.runtime.watch((event) => event.type === 'change' && keys.push(event.key), { from: offset })()
  return keys.filter((key) => !/^(?:service|beat)\//.test(key))
}
