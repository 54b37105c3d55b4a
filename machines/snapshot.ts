// The snapshot: a frozen copy of a volume, on the volume's own cluster. It belongs to its volume, which
// can't be deleted while it is there, but by a cascade; while it is made the volume's content is read, so
// nothing that changes the content begins there.

import { z } from 'zod'
import { defineResource } from './definition.ts'
import { idField, projectField, resourceName, sizeGib } from './volume.ts'

export const snapshot = defineResource({
  kind: 'snapshot',
  data: z.strictObject({
    name: resourceName,
    volume_id: idField,
    size: sizeGib.optional(),
    project: projectField,
  }),
  statuses: ['available', 'error', 'error_deleting'],
  parent: { kind: 'volume', id: 'volume_id' },
  operations: {
    create: {
      from: 'new',
      via: 'creating',
      to: 'available',
      failed: 'error',
      cleanup: 'error',
      uses: { volume: { id: 'volume_id', from: ['available', 'in-use'] } },
      description: 'Copies the volume as it is now.',
    },
    delete: {
      from: ['available', 'error', 'error_deleting'],
      via: 'deleting',
      to: 'gone',
      failed: 'error_deleting',
      ends: { busy: 'previous' },
      cleanup: 'requeue',
      unless_frozen: true,
      description: 'Removes it from the backend.',
    },
    force_delete: {
      from: 'any',
      force: true,
      via: 'deleting',
      to: 'gone',
      failed: 'error_deleting',
      cleanup: 'requeue',
      unless_frozen: true,
      description: 'Removes it whatever it is doing.',
    },
    reset_status: {
      from: 'any',
      force: true,
      to: ['available', 'error'],
      input: z.strictObject({ status: z.enum(['available', 'error']) }),
      description: 'An administrator says what is true; a running operation is aborted.',
    },
  },
  held: {
    restoring: { from: 'available', to: 'available', failed: 'available', cleanup: 'available' },
    'backing-up': { from: 'available', to: 'available', failed: 'available', cleanup: 'available' },
    'cascade-deleting': {
      from: ['available', 'error', 'error_deleting'],
      to: 'gone',
      failed: 'error_deleting',
      cleanup: 'error_deleting',
    },
  },
  quota: {
    project: ({ data }) => (data.project as string | undefined) ?? null,
    usage: () => ({ snapshots: 1 }),
  },
})
