// The type whose operations are the load of the night: a site is one file. Its table decides, the driver works.

import { z } from 'zod'
import { defineResource } from '../../machines/index.ts'

export const site = defineResource({
  kind: 'site',
  data: z.strictObject({ name: z.string().min(1).max(63), revision: z.int().min(0).default(0) }),
  statuses: ['live', 'error'],
  operations: {
    create: { from: 'new', via: 'creating', to: 'live', failed: 'error', cleanup: 'requeue' },
    publish: {
      ...{ from: 'live', via: 'publishing', to: 'live', failed: 'error', cleanup: 'requeue' },
      input: z.strictObject({ revision: z.int().min(1) }),
      change: (row, { revision }) => ({ ...row.data, revision }),
    },
    remove: {
      ...{ from: ['live', 'error'], via: 'removing', to: 'gone', failed: 'error', cleanup: 'requeue' },
      unless_frozen: true,
    },
  },
})
