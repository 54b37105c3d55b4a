// Two versions of one definition, as a service would have them a year apart, and a folder that the first one
// left behind in the middle of its work. It asserts nothing.

import { z } from 'zod'
import { defineResource } from '../../machines/index.ts'
import type { ResourceRow } from '../../machines/row.ts'
import { accepted, ControlledDriver, type Process, type World } from '../kit/rig.ts'

const id = z.string()

const first = {
  create: { from: 'new', via: 'creating', to: 'active', failed: 'failed', cleanup: 'failed' },
  resize: {
    from: 'active',
    via: 'resizing',
    to: 'previous',
    failed: 'failed',
    cleanup: 'failed',
    input: z.strictObject({ size: z.number() }),
  },
  copy: {
    from: 'active',
    via: 'copying',
    to: 'previous',
    failed: 'previous',
    cleanup: 'restore',
    input: z.strictObject({ into: id, like: id }),
    holds: { tenant: { as: 'locked', id: 'into' } },
    uses: { tenant: { id: 'like', from: ['active'] } },
  },
  delete: { from: ['active', 'failed'], via: 'deleting', to: 'gone', failed: 'failed', cleanup: 'requeue' },
} as const

const quota = {
  project: ({ data }: ResourceRow) => (data.project as string | undefined) ?? null,
  usage: ({ data }: ResourceRow) => ({ tenants: 1, gigabytes: data.size as number }),
}

/** The first version. */
export const tenant1 = defineResource({
  kind: 'tenant',
  data: z.strictObject({ name: z.string(), size: z.number(), project: z.string().optional() }),
  statuses: ['active', 'failed'],
  operations: first,
  held: { locked: { from: 'active', to: 'previous', failed: 'previous', cleanup: 'restore' } },
  quota,
})

const second = {
  create: { ...first.create, to: 'available', failed: 'error', cleanup: 'error' },
  scale: {
    from: 'available',
    via: 'scaling',
    to: 'previous',
    failed: 'error',
    cleanup: 'requeue',
    input: z.strictObject({ gib: z.number() }),
  },
  delete: { ...first.delete, from: ['available', 'error'], failed: 'error' },
} as const

const statuses: { readonly [status: string]: string } = {
  ...{ active: 'available', failed: 'error', resizing: 'scaling', copying: 'available' },
}
const renamed = (status: string) => statuses[status] ?? status

/** The second: statuses with other names, `resize` is `scale`, its size another unit, `copy` is no more. */
export const tenant2 = defineResource({
  kind: 'tenant',
  version: 2,
  migrations: {
    1: ({ status, previous_status, data: { size, ...data }, operation }) => ({
      status: renamed(status),
      previous_status: previous_status === null ? null : renamed(previous_status),
      data: { ...data, gib: size!, tags: [] },
      operation:
        operation === null || operation.name === 'copy'
          ? null
          : operation.name === 'resize'
            ? { name: 'scale', input: { gib: operation.input.size! } }
            : operation,
    }),
  },
  data: z.strictObject({
    name: z.string(),
    gib: z.number(),
    project: z.string().optional(),
    tags: z.array(z.string()).optional(),
  }),
  statuses: ['available', 'error'],
  operations: second,
  held: { locked: { from: 'available', to: 'previous', failed: 'previous', cleanup: 'restore' } },
  quota: { project: quota.project, usage: ({ data }) => ({ tenants: 1, gib: data.gib as number }) },
})

export interface Left {
  readonly rest: string
  readonly failed: string
  readonly gone: string
  /** Its resize is queued. */
  readonly queued: string
  /** Its resize was claimed by a life that is over. */
  readonly claimed: string
  /** Its copy was claimed, under the request id `copy-1`; it holds `held` and uses `used`. */
  readonly copying: string
  readonly held: string
  readonly used: string
}

/** What the first version leaves when its process dies in the middle of everything. */
export async function leaveBehind(world: World): Promise<Left> {
  const driver = new ControlledDriver()
  const process = await world.start({
    ...{ nodes: [{ host: 'h1' }], driver },
    resources: [tenant1],
    settings: { concurrency: 100 },
  })
  const made: string[] = []
  for (const name of ['rest', 'failed', 'gone', 'queued', 'claimed', 'copying', 'held', 'used']) {
    const { id: one } = accepted(
      await world.environment.until(ask(process, null, 'create', { name, size: 2, project: 'lab' })),
    )
    made.push(one)
    await world.until(() => driver.open.length === 1)
    if (name === 'failed') driver.open[0]!.fail(new Error('no room'))
    else driver.open[0]!.done()
    await world.rest('tenant', one)
  }
  const [rest, failed, gone, queued, claimed, copying, held, used] = made as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ]
  accepted(await world.environment.until(ask(process, gone, 'delete', undefined)))
  await world.until(() => driver.open.length === 1)
  driver.open[0]!.done()
  await world.rest('tenant', gone)
  accepted(await world.environment.until(ask(process, claimed, 'resize', { size: 5 })))
  accepted(await world.environment.until(ask(process, copying, 'copy', { into: held, like: used }, 'copy-1')))
  await world.until(() => driver.open.length === 2)
  process.runtime.node('h1').drain()
  accepted(await world.environment.until(ask(process, queued, 'resize', { size: 3 })))
  await process.crash()
  return { rest, failed, gone, queued, claimed, copying, held, used }
}

function ask(
  process: Process,
  tenant: string | null,
  operation: string,
  input: unknown,
  request_id?: string,
) {
  return process.runtime.accept(
    'tenant',
    tenant,
    operation,
    input,
    request_id === undefined ? {} : { request_id },
  )
}
