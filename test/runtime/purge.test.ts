// What is gone is kept for its time, so that a wait and a repeated delete are answered, and no longer; a parent
// for as long as something belongs to it.

import { expect, test } from 'vitest'
import { z } from 'zod'
import { createRuntime, type Driver, defineResource, memoryStore } from '../../runtime/index.ts'
import { accepted } from '../kit/rig.ts'
import { VirtualEnvironment } from '../kit/virtual_environment.ts'

const cycle = {
  create: { from: 'new', via: 'creating', to: 'ready', failed: 'error', cleanup: 'requeue' },
  delete: { from: ['ready', 'error'], via: 'deleting', to: 'gone', failed: 'error', cleanup: 'requeue' },
} as const

// Nothing forbids to delete a site that has pages.
const site = defineResource({
  kind: 'site',
  data: z.strictObject({}),
  statuses: ['ready', 'error'],
  operations: cycle,
})
const page = defineResource({
  kind: 'page',
  data: z.strictObject({ site_id: z.string() }),
  parent: { kind: 'site', id: 'site_id' },
  statuses: ['ready', 'error'],
  operations: cycle,
})
const nothing = { create: async () => {}, delete: async () => {} }
const driver: Driver = { operations: { site: nothing, page: nothing } }
const keep_gone_ms = 700_000
/** Sweeps look for what is past keeping now and then. */
const SOON = 650_000
/** Slow, so that hours are few steps. */
const settings = {
  heartbeat_ms: 20_000,
  fence_after_ms: 50_000,
  down_after_ms: 80_000,
  sweep_ms: 10_000,
  keep_gone_ms,
}

async function started() {
  const environment = new VirtualEnvironment()
  const runtime = await environment.until(
    createRuntime({
      store: memoryStore(),
      resources: [site, page],
      nodes: [{ cluster: 'web', backend: 'files', host: 'h1', driver }],
      settings,
      environment,
    }),
  )
  const made = accepted(await runtime.site.create({}))
  await environment.until(made.settled())
  const removed = async (kind: 'site' | 'page', id: string) => {
    const deleted = accepted(await runtime.accept(kind, id, 'delete'))
    await environment.until(deleted.settled())
  }
  return { environment, runtime, id: made.id, removed }
}

test('what is gone is there as gone for its time, and then no more', async () => {
  const { environment, runtime, id, removed } = await started()
  await removed('site', id)
  await environment.advance(keep_gone_ms - 10_000)
  expect(await runtime.site.get(id)).toMatchObject({ status: 'gone' })
  expect(await runtime.site(id).delete()).toMatchObject({ ok: false, found: 'gone' })
  await environment.advance(10_000 + SOON)
  expect(await runtime.site.get(id)).toBeUndefined()
  await environment.until(runtime.stop())
})

test('a parent that is gone is kept until nothing belongs to it any more', async () => {
  const { environment, runtime, id, removed } = await started()
  const child = accepted(await runtime.page.create({ site_id: id }))
  await environment.until(child.settled())
  await removed('site', id)
  await environment.advance(keep_gone_ms + SOON)
  expect(await runtime.site.get(id)).toMatchObject({ status: 'gone', children: { page: 1 } })
  await removed('page', child.id)
  await environment.advance(keep_gone_ms + SOON)
  expect([await runtime.site.get(id), await runtime.page.get(child.id)]).toEqual([undefined, undefined])
  await environment.until(runtime.stop())
})
