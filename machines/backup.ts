// The backup: a volume's data kept elsewhere. Making one holds the volume (backing-up), restoring one
// holds the volume it is written to (restoring-backup).

import { z } from 'zod'
import { defineResource } from './definition.ts'
import { resourceName, sizeGib } from './volume.ts'

const volumeId = z.string().min(1).max(128)

export const backup = defineResource({
  kind: 'backup',
  data: z.strictObject({ name: resourceName, volume_id: volumeId, size: sizeGib.optional() }),
  statuses: ['available', 'error', 'error_deleting'],
  operations: {
    create: {
      from: 'new',
      via: 'creating',
      to: 'available',
      failed: 'error',
      cleanup: 'error',
      holds: { volume: { as: 'backing-up', id: 'volume_id' } },
      description: 'Copies the volume into compressed, hashed chunks.',
    },
    restore: {
      from: 'available',
      via: 'restoring',
      to: 'available',
      failed: 'available',
      cleanup: 'available',
      input: z.strictObject({ volume_id: volumeId }),
      holds: { volume: { as: 'restoring-backup', id: 'volume_id' } },
      guards: ['fitsVolume'],
      description: 'Writes it over a volume, verified against the hashes.',
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
    fitsVolume: ({ row, related }) =>
      (related.volume?.data.size as number) >= ((row.data.size as number) ?? 0),
  },
})
