// The page of the block-storage operations: what each built-in operation does, read from the tables, and
// every operation of Cinder beside it: the same, different, or left out, with the reason.

import type { ResourceType } from '../../machines/definition.ts'
import { backup, snapshot, volume } from '../../machines/index.ts'
import { asList } from '../../machines/table.ts'

const types = [volume, snapshot, backup] as unknown as readonly ResourceType[]

/** One row an operation, in the order of its table. */
export function operationRows(): string[][] {
  return types.flatMap(({ kind, table }) =>
    Object.entries(table.operations).map(([name, operation]) => {
      const { from, via, to, failed, ends = {}, cleanup, guards = [], holds = {}, uses = {} } = operation
      const taken = [
        ...Object.entries(holds).map(([held, { as }]) => `holds ${held} as \`${as}\``),
        ...Object.entries(uses).map(([used]) => `uses ${used}`),
        ...(operation.at === undefined ? [] : ['driven at another topic']),
        ...(operation.follows === undefined ? [] : [`follows \`${operation.follows}\``]),
      ]
      return [
        `${kind} \`${name}\``,
        code(asList(from)),
        via === undefined ? 'instant' : `\`${via}\``,
        code(asList(to)),
        [
          ...(failed === undefined ? [] : [`\`${failed}\``]),
          ...Object.entries(ends).map(([reason, end]) => `${reason}: \`${end}\``),
        ].join(', '),
        cleanup === undefined ? '' : `\`${cleanup}\``,
        [...guards.map((guard) => `\`${guard}\``), ...taken].join(', '),
      ]
    }),
  )
}

const code = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(', ')

/** Cinder's operation; ours, as `kind.operation`, or none; what differs and why. */
export type Comparison = readonly [cinder: string, ours: readonly string[], note: string]

/** Sections 2.2 to 2.4 of Cinder's operations, each row. */
export const comparisons: readonly Comparison[] = [
  [
    'volume create',
    ['volume.create'],
    'Same ends. Sources are counted as used until the copy ends, so none can be deleted under it. From an image: left out, there is no image service.',
  ],
  [
    'volume delete',
    ['volume.delete'],
    'Also from `error_deleting`. A volume in `error` that is still attached is refused. Busy: back to the status it had, not always `available`. Groups are left out.',
  ],
  [
    'volume delete, never scheduled',
    ['volume.delete', 'volume.force_delete'],
    'Not needed: a create is placed in its accept, so every volume has a cluster. A queued create is cancelled.',
  ],
  [
    'volume force-delete',
    ['volume.force_delete'],
    "Raises the fence: the older owner's finish is refused. Not while a migration has it in two places, nor while it is read.",
  ],
  [
    'volume cascade delete',
    ['volume.delete', 'volume.force_delete'],
    'Input `cascade`. One transaction: a snapshot that is busy refuses all of it and changes nothing (Cinder: the volume ends in `error_deleting`).',
  ],
  ['volume manage, unmanage', [], 'Left out: objects that rekindle did not make.'],
  [
    'volume extend',
    ['volume.extend'],
    'In use too. `no_space` from the driver: back to the status it had. Quota is taken in the accept and given back in the failure.',
  ],
  [
    'os-reserve',
    ['volume.reserve'],
    'Status `reserved` (Cinder: `attaching`), a rest status: nobody works on it, so nothing can get stuck in it.',
  ],
  ['os-unreserve', ['volume.unreserve'], 'From another status: refused (Cinder: a silent success).'],
  [
    'os-attach, attachment create, update, complete',
    ['volume.attach'],
    'One swap notes the attachment and sets `in-use`; a second one needs `multiattach`; read-only volumes refuse `rw`.',
  ],
  ['os-begin_detaching', ['volume.begin_detaching'], 'Same. `detaching` is a rest status.'],
  [
    'os-roll_detaching',
    ['volume.roll_detaching'],
    'From another status: refused (Cinder: a silent success).',
  ],
  [
    'os-detach',
    ['volume.detach'],
    'The status follows from what is left. Of several attachments the input says which.',
  ],
  ['os-volume_upload_image, reimage', [], 'Left out: there is no image service.'],
  ['os-retype', [], 'Left out: types are requirements of the placement, not rows.'],
  [
    'os-migrate_volume',
    ['volume.migrate', 'volume.release_source'],
    'From `available` only: the content must stand still while it is copied. Status `migrating` instead of a second status field; copied, verified, swapped, then the source removed in a step of its own that a crash repeats.',
  ],
  [
    'revert',
    ['volume.revert'],
    'To any own snapshot of the same size, not only the latest: images are whole copies. Both rows in one swap (Cinder: a lost second swap leaves the volume `reverting`). A crash: done again, not `error`.',
  ],
  [
    'volume side of a backup',
    ['backup.create'],
    'Held as `backing-up`, by a swap (Cinder: read, then write).',
  ],
  [
    'volume side of a restore',
    ['backup.restore'],
    'Held as `restoring-backup`; ends as in Cinder. Restoring into a new volume is `volume.create` with `backup_id`.',
  ],
  ['volume transfer', [], 'Left out: projects are only whose quotas count.'],
  ['os-update_readonly_flag', ['volume.set_readonly'], 'Same.'],
  [
    'volume os-reset_status',
    ['volume.reset_status'],
    'A swap that raises the fence and aborts the driver (Cinder: an unconditional write that tells nobody). `available`, `in-use` (needs an attachment) and `error`.',
  ],
  [
    'snapshot create',
    ['snapshot.create'],
    'A swap: the volume counts it in the same transaction and is read, so nothing changes its content meanwhile (Cinder: made, then looked again).',
  ],
  ['snapshot delete', ['snapshot.delete'], 'Also from `error_deleting`. Refused while a copy reads it.'],
  ['snapshot force delete', ['snapshot.force_delete'], 'Raises the fence. Refused while a copy reads it.'],
  ['snapshot manage, unmanage', [], 'Left out, as for volumes.'],
  ['backup from snapshot', ['backup.create'], 'Input `snapshot_id`; the snapshot is held as `backing-up`.'],
  ['snapshot side of a revert', ['volume.revert'], 'Held as `restoring`.'],
  ['snapshot os-reset_status', ['snapshot.reset_status'], 'To `available` or `error`; a swap.'],
  ['os-update_snapshot_status', [], 'Left out: a service action of guests that copy for Cinder.'],
  [
    'backup create',
    ['backup.create'],
    'A swap. Incremental with `parent_id`: only chunks whose hash differs.',
  ],
  [
    'backup delete',
    ['backup.delete'],
    'Also from `error_deleting`; not while increments build on it; any node of the cluster.',
  ],
  ['backup force delete', ['backup.force_delete'], 'Same; every driver can.'],
  ['backup restore', ['backup.restore'], 'Same ends: the backup stays `available`.'],
  ['backup reset_status', ['backup.reset_status'], 'To `available` or `error`; a swap.'],
  [
    'backup delete while creating',
    ['backup.force_delete'],
    "The old claim's finish is refused by its fence (Cinder: the node reads again before it writes).",
  ],
]

/** What Cinder leaves without compare-and-swap, or stuck after a crash; and what holds here. */
export const closed: readonly (readonly [string, string])[] = [
  [
    'backup create, delete, restore; snapshot create: read, then write',
    'One swap of all rows that take part; a loser is refused with what was found.',
  ],
  [
    'terminal writes of nodes are unconditional',
    'A finish compares worker, incarnation and fence and binds the service row (rules R1, R5).',
  ],
  [
    'cleanup claims a worker row, then writes the resource',
    'The swap that claims is the swap that puts right, or hands it to one claimed step (rules R2, R7).',
  ],
  ['reset-status writes whatever is there', 'A force operation: a swap that raises the fence (rule R13).'],
  [
    'a volume extending, migrating or reverting at a crash: stuck',
    'Cleanup `error_extending`, `restore` and `requeue`.',
  ],
  [
    'a volume attaching, detaching or reserved: stuck',
    'Rest statuses, each with an operation out of it; no process holds them.',
  ],
  ['a snapshot deleting or restoring: stuck', '`requeue`; a held snapshot is released with its holder.'],
  ['uploading, retyping, managing, unmanaging, awaiting-transfer: stuck', 'Left out with their operations.'],
  ['a backup is cleaned only by its own node', 'By whichever scheduler or node comes first.'],
  [
    'a queued operation whose message was lost: stuck',
    'The row is the message; every sweep rings again (rule R3).',
  ],
]
