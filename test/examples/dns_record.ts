// A type of one's own: a DNS record, kept as a line in a file of its own that a zone includes. Every method
// may run again after a crash: a file is replaced as a whole, and removing what is not there is fine.

import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { type Driver, type DriverContext, defineResource } from '../../runtime/index.ts'

const value = z.ipv4()
const ttl = z.int().min(1).max(86_400)

export const dnsRecord = defineResource({
  kind: 'dns_record',
  data: z.strictObject({ name: z.hostname(), value, ttl: ttl.default(300) }),
  statuses: ['active', 'error'],
  operations: {
    create: { from: 'new', via: 'creating', to: 'active', failed: 'error', cleanup: 'requeue' },
    update: {
      ...{ from: ['active', 'error'], via: 'updating', to: 'active', failed: 'error', cleanup: 'requeue' },
      input: z.strictObject({ value: value.optional(), ttl: ttl.optional() }),
    },
    delete: { from: ['active', 'error'], via: 'deleting', to: 'gone', failed: 'error', cleanup: 'requeue' },
  },
})

export function zoneDriver(folder: string): Driver {
  const write = async ({ row, input, fence, signal }: DriverContext) => {
    signal.throwIfAborted()
    const { name, ttl, value } = { ...row.data, ...input }
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, `${row.id}.${fence}.tmp`), `${name}. ${ttl} IN A ${value}\n`, {
      flush: true,
    })
    signal.throwIfAborted()
    await rename(join(folder, `${row.id}.${fence}.tmp`), join(folder, `${row.id}.zone`))
    return input
  }
  const remove = async ({ row, signal }: DriverContext) => {
    signal.throwIfAborted()
    await rm(join(folder, `${row.id}.zone`), { force: true })
  }
  return { operations: { dns_record: { create: write, update: write, delete: remove } } }
}
