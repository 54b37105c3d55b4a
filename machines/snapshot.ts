// The snapshot: a frozen copy of a volume, on the volume's own cluster. It belongs to its volume, which
// can't be deleted while it is there.

import { z } from 'zod'
import { defineResource } from './definition.ts'
import { resourceName, sizeGib } from './volume.ts'

export const snapshot = defineResource({
  kind: 'snapshot',
  data: z.strictObject({
    name: resourceName,
    volume_id: z.string().min(1).max(128),
    size: sizeGib.optional(),
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
      guards: ['isVolumeUsable'],
      description: 'Copies the volume as it is now.',
    },
    delete: {
      from: ['available', 'error', 'error_deleting'],
      via: 'deleting',
      to: 'gone',
      failed: 'error_deleting',
      cleanup: 'requeue',
      description: 'Removes it from the backend.',
    },
    force_delete: {
      from: 'any',
      force: true,
      via: 'deleting',
      to: 'gone',
      failed: 'error_deleting',
      cleanup: 'requeue',
      description: 'Removes it whatever it is doing.',
    },
  },
  guards: {
    isVolumeUsable: ({ related }) => ['available', 'in-use'].includes(related.volume?.status ?? ''),
  },
})
