// A refused placement as a client over HTTP reads it, and the room of a cluster as it is listed there.

import { describe, expect, test } from 'vitest'
import { noopDriver } from '../../runtime/drivers/noop.ts'
import { createDoor } from '../../runtime/http/index.ts'
import { createRuntime, memoryStore, volume } from '../../runtime/index.ts'

async function door() {
  const runtime = await createRuntime({
    store: memoryStore(),
    resources: [volume],
    nodes: ['big', 'small'].map((cluster, i) => ({
      cluster,
      backend: 'noop',
      host: `h${i + 1}`,
      driver: {
        ...noopDriver(),
        capabilities: async () => ({
          total_gib: 10,
          free_gib: 8 - 3 * i,
          specs: { ssd: cluster === 'small' },
        }),
      },
    })),
    placement: { specs: { volume: { field: 'type', types: { fast: { ssd: true } } } } },
  })
  const http = createDoor(runtime, { log: () => {} })
  const ask = async (method: string, path: string, body?: unknown) => {
    const answer = await http.fetch(
      new Request(`http://127.0.0.1:7878${path}`, {
        method,
        ...(body === undefined
          ? {}
          : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
      }),
    )
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
  }
  const stop = async () => {
    http.close()
    await runtime.stop({ within_ms: 1_000 })
  }
  return { ask, stop }
}

describe('Over HTTP', () => {
  test('a create that no cluster can take answers 503 with the filter and the reason of each', async () => {
    const { ask, stop } = await door()
    expect(await ask('POST', '/resources/volume', { name: 'a', size: 6, type: 'fast' })).toEqual({
      status: 503,
      body: {
        error: {
          code: 'no_cluster',
          message:
            'no cluster can take it: big@noop: capabilities: ssd is false, true is asked for; small@noop: capacity: 5 GiB are free, 6 GiB are asked for',
          issues: [
            { path: 'big@noop', message: 'capabilities: ssd is false, true is asked for' },
            { path: 'small@noop', message: 'capacity: 5 GiB are free, 6 GiB are asked for' },
          ],
        },
      },
    })
    expect((await ask('GET', '/resources/volume')).body).toMatchObject({ rows: [] })
    await stop()
  })

  test('a type that is not known answers 400 with its field', async () => {
    const { ask, stop } = await door()
    expect(await ask('POST', '/resources/volume', { name: 'a', size: 1, type: 'fest' })).toMatchObject({
      status: 400,
      body: { error: { code: 'bad_input', issues: [{ path: 'type' }] } },
    })
    await stop()
  })

  test('the clusters are listed with their last report and what was promised since', async () => {
    const { ask, stop } = await door()
    await ask('POST', '/resources/volume?wait=10', { name: 'a', size: 2 })
    const { clusters } = (await ask('GET', '/clusters')).body as { clusters: Record<string, unknown>[] }
    expect(clusters.map(({ topic }) => topic)).toEqual(['big@noop', 'small@noop'])
    expect(clusters[0]).toMatchObject({
      capabilities: { total_gib: 10, free_gib: 8, specs: { ssd: false } },
      pending_gib: 2,
      reported_at: expect.any(Number),
    })
    await stop()
  })
})
