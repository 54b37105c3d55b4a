// The volume: a block device made of space at a backend. Statuses, preconditions, ends and cleanup follow
// Cinder's, without its holes: every transitional status has a cleanup policy, every change is a swap. Who
// uses it is noted in its attachments; `reserved` and `detaching` are rest statuses, since nobody works on it.

import { z } from 'zod'
import { defineResource } from './definition.ts'
import type { JsonObject, ResourceRow } from './row.ts'

/** GiB, as in Cinder; fractions make small volumes for trials. */
export const sizeGib = z.number().min(0.001).max(65_536)
export const resourceName = z.string().min(1).max(255)
export const idField = z.string().min(1).max(128)
/** Whose quotas it counts against; without a project it counts against none. */
export const projectField = z
  .string()
  .regex(/^[A-Za-z0-9_.:-]{1,128}$/)
  .optional()

const attachment = z.strictObject({
  host: z.string().min(1).max(255),
  device: z.string().min(1).max(255),
  mode: z.enum(['rw', 'ro']).default('rw'),
})
type Attachment = z.infer<typeof attachment>

const attachmentsOf = ({ data }: ResourceRow): readonly Attachment[] =>
  (data.attachments ?? []) as unknown as readonly Attachment[]

function withAttachments(data: JsonObject, attachments: readonly Attachment[]): JsonObject {
  const { attachments: _, ...others } = data
  return attachments.length === 0 ? others : { ...others, attachments: attachments as never }
}

/** Those that stay when what the input names is detached; without a host, none does. */
const left = (row: ResourceRow, { host, device }: { host?: string; device?: string }) =>
  attachmentsOf(row).filter(
    (a) => (host !== undefined && a.host !== host) || (device !== undefined && a.device !== device),
  )

const sources = ['snapshot_id', 'source_volume_id', 'backup_id'] as const

export const volume = defineResource({
  kind: 'volume',
  data: z
    .strictObject({
      name: resourceName,
      size: sizeGib,
      project: projectField,
      type: z.string().min(1).max(128).optional(),
      multiattach: z.boolean().optional(),
      readonly: z.boolean().optional(),
      snapshot_id: idField.optional(),
      source_volume_id: idField.optional(),
      backup_id: idField.optional(),
    })
    .refine((data) => sources.filter((name) => data[name] !== undefined).length <= 1, {
      message: `only one of ${sources.join(', ')} can be given`,
    }),
  statuses: [
    ...(['available', 'in-use', 'reserved', 'detaching', 'error', 'error_extending'] as const),
    ...(['error_restoring', 'error_deleting', 'error_releasing'] as const),
  ],
  operations: {
    create: {
      from: 'new',
      via: 'creating',
      to: 'available',
      failed: 'error',
      cleanup: 'error',
      uses: {
        snapshot: { id: 'snapshot_id', from: ['available'] },
        volume: { id: 'source_volume_id', from: ['available', 'in-use'] },
        backup: { id: 'backup_id', from: ['available'] },
      },
      guards: ['fitsSource'],
      description: 'Makes the volume at the backend, empty or from a snapshot, a volume or a backup.',
    },
    extend: {
      from: ['available', 'in-use'],
      via: 'extending',
      to: 'previous',
      failed: 'error_extending',
      ends: { no_space: 'previous' },
      cleanup: 'error_extending',
      input: z.strictObject({ size: sizeGib }),
      guards: ['isLarger'],
      description: 'Makes it larger, in use or not; never smaller.',
    },
    delete: {
      from: ['available', 'error', 'error_extending', 'error_restoring', 'error_deleting'],
      via: 'deleting',
      to: 'gone',
      failed: 'error_deleting',
      ends: { busy: 'previous' },
      cleanup: 'requeue',
      input: z.strictObject({ cascade: z.boolean().optional() }),
      holds: { snapshot: { as: 'cascade-deleting', id: 'snapshot_ids', all_if: 'cascade' } },
      guards: ['isDetached', 'hasNoSnapshots'],
      unless_frozen: true,
      description: 'Removes it from the backend; with cascade its snapshots too.',
    },
    force_delete: {
      from: 'any',
      force: true,
      via: 'deleting',
      to: 'gone',
      failed: 'error_deleting',
      cleanup: 'requeue',
      input: z.strictObject({ cascade: z.boolean().optional() }),
      holds: { snapshot: { as: 'cascade-deleting', id: 'snapshot_ids', all_if: 'cascade' } },
      guards: ['hasNoSnapshots', 'isInOnePlace'],
      unless_frozen: true,
      description: 'Removes it whatever it is doing.',
    },
    revert: {
      from: 'available',
      via: 'reverting',
      to: 'available',
      failed: 'error',
      cleanup: 'requeue',
      input: z.strictObject({ snapshot_id: idField }),
      holds: { snapshot: { as: 'restoring', id: 'snapshot_id' } },
      guards: ['isOwnSnapshot', 'hasSnapshotSize'],
      description: 'Makes its content that of one of its snapshots.',
    },
    migrate: {
      from: 'available',
      via: 'migrating',
      at: (_: ResourceRow, input: { cluster: string }) => input.cluster,
      moves: true,
      change: (row) => ({ ...row.data, migrated_from: row.cluster }),
      to: 'available',
      failed: 'previous',
      cleanup: 'restore',
      input: z.strictObject({ cluster: z.string().min(1).max(300) }),
      guards: ['hasNoSnapshots', 'isElsewhere'],
      description: 'Copies it to another cluster@backend, verified; it belongs there from the swap on.',
    },
    release_source: {
      from: 'error_releasing',
      follows: 'migrate',
      via: 'releasing',
      at: (row) => String(row.data.migrated_from),
      change: ({ data: { migrated_from: _, ...data } }) => data,
      to: 'available',
      failed: 'error_releasing',
      cleanup: 'requeue',
      description: 'Removes what a migration left where it came from.',
    },
    reserve: {
      from: ['available', 'in-use'],
      to: 'reserved',
      guards: ['mayAttachMore'],
      description: 'Keeps it for somebody who is about to attach it.',
    },
    unreserve: {
      from: 'reserved',
      to: ['available', 'in-use'],
      choose: (row) => (attachmentsOf(row).length > 0 ? 'in-use' : 'available'),
      description: 'Gives a reservation back.',
    },
    attach: {
      from: ['available', 'reserved', 'in-use'],
      to: 'in-use',
      input: attachment,
      guards: ['mayAttachMore', 'isNotAttachedThere', 'mayWrite'],
      change: (row, input: Attachment) => withAttachments(row.data, [...attachmentsOf(row), input]),
      description: 'Notes who uses it; a second one only where multiattach is allowed.',
    },
    begin_detaching: {
      from: 'in-use',
      to: 'detaching',
      description: 'Notes that somebody is about to detach it.',
    },
    roll_detaching: {
      from: 'detaching',
      to: 'in-use',
      description: 'It is not detached after all.',
    },
    detach: {
      from: ['in-use', 'detaching'],
      to: ['available', 'in-use'],
      input: z.strictObject({
        host: attachment.shape.host.optional(),
        device: attachment.shape.device.optional(),
      }),
      choose: (row, input: { host?: string; device?: string }) =>
        left(row, input).length > 0 ? 'in-use' : 'available',
      guards: ['isAttachedThere'],
      change: (row, input: { host?: string; device?: string }) => withAttachments(row.data, left(row, input)),
      description: 'Notes that a host uses it no longer; of several, the input says which.',
    },
    set_readonly: {
      from: 'available',
      to: 'available',
      input: z.strictObject({ readonly: z.boolean() }),
      change: ({ data }, { readonly }: { readonly: boolean }) => ({ ...data, readonly }),
      description: 'Says whether it may be attached for writing.',
    },
    reset_status: {
      from: 'any',
      force: true,
      to: ['available', 'in-use', 'error'],
      input: z.strictObject({ status: z.enum(['available', 'in-use', 'error']) }),
      guards: ['isAttachedIfInUse', 'isInOnePlace'],
      change: ({ data }, { status }: { status: string }) =>
        status === 'available' ? withAttachments(data, []) : data,
      description: 'An administrator says what is true; a running operation is aborted.',
    },
  },
  topics: ['migrated_from', 'cluster'],
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
    fitsSource: ({ input, related }) =>
      Object.values(related).every(({ data }) => (input.size as number) >= ((data.size as number) ?? 0)),
    isLarger: ({ row, input }) => (input.size as number) > (row.data.size as number),
    isDetached: ({ row }) => attachmentsOf(row).length === 0,
    // The ids are those of its snapshots as listed just before; one that came since refuses.
    hasNoSnapshots: ({ row, input }) =>
      (row.children.snapshot ?? 0) === ((input.snapshot_ids as readonly string[] | undefined)?.length ?? 0),
    isInOnePlace: ({ row }) => row.data.migrated_from === undefined,
    isOwnSnapshot: ({ row, related }) => related.snapshot?.data.volume_id === row.id,
    hasSnapshotSize: ({ row, related }) => related.snapshot?.data.size === row.data.size,
    isElsewhere: ({ row, input }) => input.cluster !== row.cluster,
    mayAttachMore: ({ row }) => attachmentsOf(row).length === 0 || row.data.multiattach === true,
    isNotAttachedThere: ({ row, input }) =>
      attachmentsOf(row).every(({ host, device }) => host !== input.host || device !== input.device),
    mayWrite: ({ row, input }) => row.data.readonly !== true || input.mode === 'ro',
    isAttachedThere: ({ row, input }) => {
      const attachments = attachmentsOf(row)
      const remain = left(row, input as { host?: string; device?: string })
      return (
        attachments.length === 0 ||
        (input.host === undefined && input.device === undefined
          ? attachments.length === 1
          : remain.length === attachments.length - 1)
      )
    },
    isAttachedIfInUse: ({ row, input }) => input.status !== 'in-use' || attachmentsOf(row).length > 0,
  },
  quota: {
    project: ({ data }) => (data.project as string | undefined) ?? null,
    usage: ({ data, operation }) => ({
      volumes: 1,
      // What an extend asks for is taken from the accept on, and given back if it fails.
      gigabytes: Math.max(
        data.size as number,
        operation?.name === 'extend' ? (operation.input.size as number) : 0,
      ),
    }),
  },
})
