// The next version of the night's type: a status with a better name, and a field that the first one did not have.

import { defineResource } from '../../machines/index.ts'
import { site as first } from './site.ts'

const { create, publish, remove } = first.table.operations

export const site = defineResource({
  ...first.table,
  version: 2,
  migrations: {
    1: ({ status, previous_status, data, operation }) => ({
      status: status === 'live' ? 'online' : status,
      previous_status: previous_status === 'live' ? 'online' : previous_status,
      data: { ...data, theme: 'plain' },
      operation,
    }),
  },
  statuses: ['online', 'error'],
  operations: {
    create: { ...create, to: 'online' },
    publish: { ...publish, from: 'online', to: 'online' },
    remove: { ...remove, from: ['online', 'error'] },
  },
})
