// What watches the process: health, readiness with its reasons, and metrics that agree with what happened.

import { expect, test } from 'vitest'
import { createDoor } from '../../runtime/http/index.ts'
import { MEASURES } from '../../runtime/index.ts'
import { FaultRig } from '../kit/fault_rig.ts'
import { doorRig } from './door_rig.ts'

/** The samples of a text in Prometheus' form: `name{labels}` and its value. */
function samplesIn(text: string): Map<string, number> {
  return new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )
}

const scrape = async (rig: Awaited<ReturnType<typeof doorRig>>) => {
  const answer = await rig.door.fetch(new Request('http://localhost/metrics'))
  return { type: answer.headers.get('content-type'), text: await answer.text() }
}

test('metrics are counted and told in the form of Prometheus', async () => {
  const rig = await doorRig()
  const { id } = await rig.available()
  await rig.ask('POST', `/resources/volume/${id}/detach`)
  await rig.ask('POST', `/resources/volume/${id}/extend`, { size: 0.5 })
  await rig.ask('POST', '/resources/volume', { name: 5 })
  const { type, text } = await scrape(rig)
  expect(type).toContain('text/plain; version=0.0.4')
  const samples = samplesIn(text)
  expect(samples.get('rekindle_accepted_total{kind="volume",operation="create"}')).toBe(1)
  expect(samples.get('rekindle_claims_total{kind="volume",operation="create"}')).toBe(1)
  expect(
    samples.get('rekindle_refused_total{kind="volume",operation="detach",step="accept",reason="status"}'),
  ).toBe(1)
  expect(
    samples.get('rekindle_refused_total{kind="volume",operation="extend",step="accept",reason="isLarger"}'),
  ).toBe(1)
  expect(samples.get('rekindle_errors_total{code="bad_input"}')).toBe(1)
  const of = 'kind="volume",operation="create",outcome="done"'
  expect(
    samples.get(`rekindle_operation_seconds_bucket{le="+Inf",${of}}`) ??
      samples.get(`rekindle_operation_seconds_bucket{${of},le="+Inf"}`),
  ).toBe(1)
  expect(samples.get(`rekindle_operation_seconds_count{${of}}`)).toBe(1)
  expect(samples.get('rekindle_nodes{state="up"}')).toBe(3)
  expect(samples.get('rekindle_queued{topic="demo@noop"}')).toBe(0)
  expect(samples.get('rekindle_store_open')).toBe(1)
  expect([...samples.keys()].some((name) => name.startsWith('nodejs_eventloop_lag_seconds'))).toBe(true)
  for (const name of Object.keys(MEASURES)) expect(text).toContain(`# TYPE rekindle_${name}`)
  await rig.stop()
})

test('buckets of a histogram grow and end with all', async () => {
  const rig = await doorRig()
  await rig.available()
  const { text } = await scrape(rig)
  const buckets = text
    .split('\n')
    .filter((line) => line.startsWith('rekindle_commit_seconds_bucket') && line.includes('step="claim"'))
    .map((line) => Number(line.slice(line.lastIndexOf(' ') + 1)))
  expect(buckets.length).toBeGreaterThan(5)
  expect(buckets).toEqual([...buckets].sort((a, b) => a - b))
  expect(buckets.at(-1)).toBe(1)
  await rig.stop()
})

test('what a caller sends is never a label', async () => {
  const rig = await doorRig()
  for (const path of [
    '/resources/my-secret-kind',
    '/resources/volume/my-secret-id/my_secret_operation',
    '/nodes/my-secret-host/kill',
  ])
    await rig.ask('POST', path, { my_secret_field: 'my-secret-value' })
  await rig.ask('POST', '/resources/volume?request_id=my-secret-request', { name: 'my-secret-name', size: 1 })
  expect((await scrape(rig)).text).not.toContain('secret')
  await rig.stop()
})

test('it is ready while the store is open and a node is up, and says why it is not', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1', 'h2'] })
  const door = createDoor(runtime, { environment: rig.environment })
  const ask = async (path: string) => {
    const answer = await door.fetch(new Request(`http://localhost${path}`))
    const { status, headers } = answer
    return { status, headers, body: (await answer.json()) as { reasons: string[] } }
  }
  expect(await ask('/readyz')).toMatchObject({ status: 200, body: { ready: true, reasons: [] } })
  rig.faults.lose('EIO')
  await rig.advance(10)
  const lost = await ask('/readyz')
  expect(lost).toMatchObject({ status: 503, body: { ready: false } })
  expect(lost.body.reasons).toEqual(['the store is lost; it is being opened again'])
  expect(lost.headers.get('retry-after')).toBe('1')
  expect(await ask('/healthz')).toMatchObject({ status: 200 })
  const nodes = await ask('/nodes')
  expect(nodes).toMatchObject({ status: 503, body: { error: { code: 'store_lost' } } })
  expect(nodes.headers.get('retry-after')).toBe('1')
  const metrics = await door.fetch(new Request('http://localhost/metrics'))
  expect(samplesIn(await metrics.text()).get('rekindle_store_open')).toBe(0)
  rig.faults.back()
  await rig.advance(10_000)
  expect(await ask('/readyz')).toMatchObject({ status: 200, body: { ready: true } })
  for (const host of ['h1', 'h2']) runtime.node(host).kill()
  await rig.advance(20_000)
  const down = await ask('/readyz')
  expect(down).toMatchObject({ status: 503, body: { ready: false } })
  expect(down.body.reasons).toEqual(['no node is up: h1@file is down, h2@file is down'])
  await rig.stop()
})

test('where no node is configured it is ready with none', async () => {
  const rig = await doorRig({ hosts: [] })
  expect(await rig.ask('GET', '/readyz')).toMatchObject({ status: 200, body: { ready: true } })
  await rig.stop()
})
