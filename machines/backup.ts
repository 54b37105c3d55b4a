// The backup: the data of a volume or a snapshot kept elsewhere. Making one holds what it copies
// (backing-up), restoring one holds the volume it is written to (restoring-backup). An incremental backup
// belongs to the one it builds on, which can't be deleted before it.

import { z } from 'zod'
import { defineResource } from './definition.ts'
import { idField, projectField, resourceName, sizeGib } from './volume.ts'

export const backup = defineResource({
  kind: 'backup',
  data: z
    .strictObject({
      name: resourceName,
      volume_id: idField.optional(),
      snapshot_id: idField.optional(),
      parent_id: idField.optional(),
      size: sizeGib.optional(),
      project: projectField,
    })
    .refine(({ volume_id, snapshot_id }) => (volume_id === undefined) !== (snapshot_id === undefined), {
      message: 'give either volume_id or snapshot_id',
    })
    .refine(({ volume_id, parent_id }) => parent_id === undefined || volume_id !== undefined, {
      message: 'parent_id needs volume_id: only a backup of a volume can be incremental',
    }),
  statuses: ['available', 'error', 'error_deleting'],
  parent: { kind: 'backup', id: 'parent_id' },
  operations: {
    create: {
      from: 'new',
      via: 'creating',
      to: 'available',
      failed: 'error',
      cleanup: 'error',
      holds: {
        volume: { as: 'backing-up', id: 'volume_id' },
        snapshot: { as: 'backing-up', id: 'snapshot_id' },
      },
      uses: { backup: { id: 'parent_id', from: ['available'] } },
      guards: ['isOfSameVolume'],
      description:
        'Copies the volume or snapshot into compressed, hashed chunks; only what changed, with a parent.',
    },
    restore: {
      from: 'available',
      via: 'restoring',
      to: 'available',
      failed: 'available',
      cleanup: 'available',
      input: z.strictObject({ volume_id: idField }),
      holds: { volume: { as: 'restoring-backup', id: 'volume_id' } },
      guards: ['fitsVolume'],
      description: 'Writes it over a volume, verified against the hashes.',
    },
    delete: {
      from: ['available', 'error', 'error_deleting'],
      via: 'deleting',
      to: 'gone',
      failed: 'error_deleting',
      ends: { busy: 'previous' },
      cleanup: 'requeue',
      guards: ['hasNoDependents'],
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
      guards: ['hasNoDependents'],
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
  guards: {
    isOfSameVolume: ({ input, related }) =>
      related.backup === undefined || related.backup.data.volume_id === input.volume_id,
    fitsVolume: ({ row, related }) =>
      (related.volume?.data.size as number) >= ((row.data.size as number) ?? 0),
    hasNoDependents: ({ row }) => row.children.backup === undefined,
  },
  quota: {
    project: ({ data }) => (data.project as string | undefined) ?? null,
    usage: () => ({ backups: 1 }),
  },
})
