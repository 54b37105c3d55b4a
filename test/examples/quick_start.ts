import { mkdir, rm } from 'node:fs/promises'
import { z } from 'zod'
import { createRuntime, type Driver, defineResource, jsonStore } from '../../runtime/index.ts'

const bucket = defineResource({
  kind: 'bucket',
  data: z.strictObject({ name: z.string().max(63) }),
  statuses: ['available', 'error'],
  operations: {
    create: { from: 'new', via: 'creating', to: 'available', failed: 'error', cleanup: 'requeue' },
    delete: {
      from: ['available', 'error'],
      via: 'deleting',
      to: 'gone',
      failed: 'error',
      cleanup: 'requeue',
    },
  },
})
const driver: Driver = {
  operations: {
    bucket: {
      create: async ({ row }) => void (await mkdir(`buckets/${row.id}`, { recursive: true })),
      delete: async ({ row }) => rm(`buckets/${row.id}`, { recursive: true, force: true }),
    },
  },
}
const nodes = ['h1', 'h2'].map((host) => ({ cluster: 'local', backend: 'folders', host, driver }))

const runtime = await createRuntime({ store: jsonStore('data'), resources: [bucket], nodes })
const made = await runtime.bucket.create({ name: 'photos' }) // on disk when it returns
if (made.ok) console.log((await made.settled()).row.status) // available
await runtime.stop()
