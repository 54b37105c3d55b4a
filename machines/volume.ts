// The volume: a block device made of space at a backend. Statuses, preconditions, ends and cleanup follow
// Cinder's, without its holes: every transitional status has a cleanup policy, every change is a swap.

import { z } from 'zod'
import { defineResource } from './definition.ts'
import type { JsonObject } from './row.ts'

/** GiB, as in Cinder; fractions make small volumes for trials. */
export const sizeGib = z.number().min(0.001).max(65_536)
export const resourceName = z.string().min(1).max(255)

const attachment = z.object({
  host: z.string().min(1).max(255),
  device: z.string().min(1).max(255),
  mode: z.enum(['rw', 'ro']).default('rw'),
})

const withoutAttachment = ({ attachment: _, ...data }: JsonObject): JsonObject => data

export const volume = defineResource({
  kind: 'volume',
  data: z.strictObject({ name: resourceName, size: sizeGib }),
  statuses: ['available', 'in-use', 'error', 'error_extending', 'error_restoring', 'error_deleting'],
  operations: {
    create: {
      from: 'new',
      via: 'creating',
      to: 'available',
      failed: 'error',
      cleanup: 'error',
      description: 'Makes the volume at the backend.',
    },
    extend: {
      from: ['available', 'in-use'],
      via: 'extending',
      to: 'previous',
      failed: 'error_extending',
      cleanup: 'error_extending',
      input: z.strictObject({ size: sizeGib }),
      guards: ['isLarger'],
      description: 'Makes it larger; never smaller.',
    },
    delete: {
      from: ['available', 'error', 'error_extending', 'error_restoring', 'error_deleting'],
      via: 'deleting',
      to: 'gone',
      failed: 'error_deleting',
      cleanup: 'requeue',
      guards: ['hasNoSnapshots'],
      description: 'Removes it from the backend.',
    },
    force_delete: {
      from: 'any',
      force: true,
      via: 'deleting',
      to: 'gone',
      failed: 'error_deleting',
      cleanup: 'requeue',
      guards: ['hasNoSnapshots'],
      description: 'Removes it whatever it is doing.',
    },
    attach: {
      from: 'available',
      to: 'in-use',
      input: attachment,
      change: (row, input: z.infer<typeof attachment>) => ({ ...row.data, attachment: input }),
      description: 'Notes who uses it.',
    },
    detach: {
      from: 'in-use',
      to: 'available',
      change: ({ data }) => withoutAttachment(data),
      description: 'Notes that nobody uses it any longer.',
    },
    reset_status: {
      from: 'any',
      force: true,
      to: ['available', 'in-use', 'error'],
      input: z.strictObject({ status: z.enum(['available', 'in-use', 'error']) }),
      guards: ['isAttachedIfInUse'],
      change: ({ data }, input: { status: string }) =>
        input.status === 'available' ? withoutAttachment(data) : data,
      description: 'An administrator says what is true; a running operation is aborted.',
    },
  },
  held: {
    'backing-up': { from: ['available', 'in-use'], to: 'previous', failed: 'previous', cleanup: 'restore' },
    'restoring-backup': {
      from: 'available',
      to: 'available',
      failed: 'error_restoring',
      cleanup: 'error_restoring',
    },
  },
  guards: {
    isLarger: ({ row, input }) => (input.size as number) > (row.data.size as number),
    hasNoSnapshots: ({ row }) => row.children.snapshot === undefined,
    isAttachedIfInUse: ({ row, input }) => input.status !== 'in-use' || row.data.attachment !== undefined,
  },
})
