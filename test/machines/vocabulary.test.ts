// The vocabulary of block storage as decisions over rows: sources that are used, cascades, reverts,
// migrations, attachments. What a driver does is elsewhere; here is what becomes of the rows.

import { describe, expect, test } from 'vitest'
import { type ResourceRow, statePathOf } from '../../machines/index.ts'
import type { JsonObject } from '../../machines/row.ts'
import { USED } from '../../machines/table.ts'
import { clusterings, expectAtRest } from '../kit/rig.ts'
import { Rows } from '../kit/rows.ts'

const VOLUME = 'volume/v1'
const SNAPSHOT = 'snapshot/s1'

const ask = (type: string, input: JsonObject = {}) => ({ type, input, request_id: null, related: {} })

describe.each(clusterings)('A source that is read, $clustering', ({ cluster }) => {
  function cloning() {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1', { data: { name: 'a', size: 2 } })
    rows.put('snapshot', 's1', { data: { name: 's', volume_id: 'v1', size: 2 } })
    rows.ask('volume/c1', 'create', { name: 'c', size: 2, snapshot_id: 's1' })
    return rows
  }

  test('is counted as used until the copy ends, whichever way, and any number may read it at once', () => {
    const rows = cloning()
    rows.ask('volume/c2', 'create', { name: 'c', size: 3, snapshot_id: 's1' })
    expect(rows.row(SNAPSHOT)).toMatchObject({ status: 'available', children: { [USED]: 2 } })
    rows.claim('volume/c1')
    rows.end('volume/c1', 'done')
    expect(rows.row(SNAPSHOT).children).toEqual({ [USED]: 1 })
    rows.claim('volume/c2')
    rows.clean('volume/c2')
    expectAtRest(rows.row('volume/c2'), 'error')
    expect(rows.row(SNAPSHOT).children).toEqual({})
  })

  test('refuses what would change it meanwhile, by force too, and says why', () => {
    const rows = cloning()
    for (const operation of ['delete', 'force_delete'])
      expect(rows.no(SNAPSHOT, ask(operation))).toMatchObject({ guard: 'isUnused', found: 'available' })
    rows.ok('volume/c1', { type: 'cancel' })
    expectAtRest(rows.row('volume/c1'), 'gone')
    rows.ask(SNAPSHOT, 'delete')
  })

  test('that is not ready, too large or not there is refused with what was found', () => {
    const rows = cloning()
    rows.put('snapshot', 's2', { status: 'error', data: { volume_id: 'v1', size: 2 } })
    expect(rows.no('volume/c3', ask('create', { name: 'c', size: 2, snapshot_id: 's2' }))).toMatchObject({
      resource: { kind: 'snapshot', id: 's2' },
      expected: ['available'],
      found: 'error',
    })
    expect(rows.no('volume/c3', ask('create', { name: 'c', size: 1, snapshot_id: 's1' }))).toMatchObject({
      guard: 'fitsSource',
    })
    expect(rows.no('volume/c3', ask('create', { name: 'c', size: 1, snapshot_id: 's9' }))).toMatchObject({
      found: 'absent',
    })
  })

  test('is let go when a force operation takes the place of the copy', () => {
    const rows = cloning()
    rows.claim('volume/c1')
    rows.ask('volume/c1', 'force_delete')
    expect(rows.row(SNAPSHOT).children).toEqual({})
  })
})

describe.each(clusterings)('A cascade, $clustering', ({ cluster }) => {
  function family() {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1', { data: { name: 'a', size: 2 }, children: { snapshot: 2 } })
    rows.put('snapshot', 's1', { data: { volume_id: 'v1' } })
    rows.put('snapshot', 's2', { status: 'error', data: { volume_id: 'v1' } })
    return rows
  }
  const cascade = { cascade: true, snapshot_ids: ['s1', 's2'] }

  test('holds every snapshot from its accept on, and all are gone in one swap with the volume', () => {
    const rows = family()
    expect(rows.ask(VOLUME, 'delete', cascade).changes).toHaveLength(3)
    for (const id of ['s1', 's2']) expect(rows.row(`snapshot/${id}`).status).toBe('cascade-deleting')
    rows.claim(VOLUME)
    expect(rows.end(VOLUME, 'done').changes).toHaveLength(3)
    expectAtRest(rows.row(VOLUME), 'gone')
    for (const id of ['s1', 's2']) expectAtRest(rows.row(`snapshot/${id}`), 'gone')
    expect(rows.row(VOLUME).children).toEqual({})
  })

  test('that fails leaves all of them where they can be deleted again', () => {
    const rows = family()
    rows.ask(VOLUME, 'delete', cascade)
    rows.claim(VOLUME)
    rows.end(VOLUME, 'failed')
    expectAtRest(rows.row(VOLUME), 'error_deleting')
    for (const id of ['s1', 's2']) expectAtRest(rows.row(`snapshot/${id}`), 'error_deleting')
    rows.ask(VOLUME, 'delete', cascade)
  })

  test('that a snapshot has escaped since it was listed is refused', () => {
    const rows = family()
    rows.put('volume', 'v1', { data: { name: 'a', size: 2 }, children: { snapshot: 3 } })
    expect(rows.no(VOLUME, ask('delete', cascade))).toMatchObject({ guard: 'hasNoSnapshots' })
    expect(rows.row(SNAPSHOT).status).toBe('available')
  })

  test('with one snapshot that is busy changes nothing', () => {
    const rows = family()
    rows.ask(SNAPSHOT, 'delete')
    expect(rows.no(VOLUME, ask('delete', cascade))).toMatchObject({
      resource: { kind: 'snapshot', id: 's1' },
      found: 'deleting',
    })
    expect(rows.row(VOLUME).status).toBe('available')
  })
})

describe.each(clusterings)('A revert, $clustering', ({ cluster }) => {
  function reverting(change: Partial<ResourceRow> = {}) {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1', { data: { name: 'a', size: 2 }, children: { snapshot: 1 } })
    rows.put('snapshot', 's1', { data: { volume_id: 'v1', size: 2 }, ...change })
    return rows
  }

  test('changes volume and snapshot in one swap, and both are available in one swap at its end', () => {
    const rows = reverting()
    rows.ask(VOLUME, 'revert', { snapshot_id: 's1' })
    expect(rows.row(VOLUME).status).toBe('reverting')
    expect(rows.row(SNAPSHOT)).toMatchObject({ status: 'restoring', held_by: { kind: 'volume', id: 'v1' } })
    rows.claim(VOLUME)
    rows.end(VOLUME, 'done')
    expectAtRest(rows.row(VOLUME), 'available')
    expectAtRest(rows.row(SNAPSHOT), 'available')
  })

  test('whose snapshot is busy is refused and leaves the volume as it was: Cinder leaves it reverting', () => {
    const rows = reverting()
    rows.ask(SNAPSHOT, 'delete')
    expect(rows.no(VOLUME, ask('revert', { snapshot_id: 's1' }))).toMatchObject({
      resource: { kind: 'snapshot', id: 's1' },
      expected: ['available'],
      found: 'deleting',
    })
    expectAtRest(rows.row(VOLUME), 'available')
  })

  test.each([
    ['another volume', { data: { volume_id: 'v9', size: 2 } }, 'isOwnSnapshot'],
    ['another size', { data: { volume_id: 'v1', size: 1 } }, 'hasSnapshotSize'],
  ])('to a snapshot of %s is refused', (_, change, guard) => {
    expect(reverting(change).no(VOLUME, ask('revert', { snapshot_id: 's1' }))).toMatchObject({ guard })
  })

  test('whose node goes down is done again by another: what was half written is written whole', () => {
    const rows = reverting()
    rows.ask(VOLUME, 'revert', { snapshot_id: 's1' })
    rows.claim(VOLUME)
    rows.clean(VOLUME, true)
    expect(statePathOf(rows.row(VOLUME))).toBe('reverting.queued')
    rows.claim(VOLUME, 'h2')
    rows.end(VOLUME, 'done')
    expectAtRest(rows.row(SNAPSHOT), 'available')
  })
})

describe.each(clusterings)('A migration, $clustering', ({ cluster }) => {
  const target = 'far@file'
  function migrating() {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1', { data: { name: 'a', size: 2 } })
    rows.ask(VOLUME, 'migrate', { cluster: target })
    return rows
  }

  test('is driven at its target; from the swap on it belongs there; then the source removes its copy', () => {
    const rows = migrating()
    expect(rows.row(VOLUME)).toMatchObject({ status: 'migrating', worker: target, cluster: rows.topic })
    rows.no(VOLUME, { type: 'claim', claimant: rows.claimant() })
    rows.claim(VOLUME)
    rows.end(VOLUME, 'done')
    expect(rows.row(VOLUME)).toMatchObject({
      status: 'releasing',
      cluster: target,
      worker: rows.topic,
      incarnation: null,
      data: { migrated_from: rows.topic },
    })
    expect(rows.asked).toContain('ring')
    rows.claim(VOLUME)
    rows.end(VOLUME, 'done')
    expectAtRest(rows.row(VOLUME), 'available')
    expect(rows.row(VOLUME)).toMatchObject({ cluster: target, data: { name: 'a', size: 2 } })
    expect(rows.row(VOLUME).data.migrated_from).toBeUndefined()
  })

  test('that fails or is interrupted at its target stays where it was', () => {
    const failed = migrating()
    failed.claim(VOLUME)
    failed.end(VOLUME, 'failed')
    expectAtRest(failed.row(VOLUME), 'available')
    const down = migrating()
    down.claim(VOLUME)
    down.clean(VOLUME, true)
    expect(down.row(VOLUME)).toMatchObject({ worker: target, incarnation: null })
    expect(statePathOf(down.row(VOLUME))).toBe('migrating.cleanup_queued')
    down.claim(VOLUME, 'h2')
    down.end(VOLUME, 'done')
    expectAtRest(down.row(VOLUME), 'available')
    expect(down.row(VOLUME).cluster).toBe(down.topic)
  })

  test('can not be forced away while it is in two places', () => {
    const rows = migrating()
    rows.no(VOLUME, ask('force_delete'))
    rows.no(VOLUME, ask('reset_status', { status: 'error' }))
    rows.claim(VOLUME)
    rows.end(VOLUME, 'done')
    rows.no(VOLUME, ask('force_delete'))
    rows.no(VOLUME, { type: 'cancel' })
    rows.claim(VOLUME)
    rows.end(VOLUME, 'failed')
    expectAtRest(rows.row(VOLUME), 'error_releasing')
    expect(rows.no(VOLUME, ask('force_delete'))).toMatchObject({ guard: 'isInOnePlace' })
    rows.ask(VOLUME, 'release_source')
    expect(rows.row(VOLUME).worker).toBe(rows.topic)
    rows.claim(VOLUME)
    rows.end(VOLUME, 'done')
    expectAtRest(rows.row(VOLUME), 'available')
  })

  test('to where it is, or of a volume with snapshots, is refused', () => {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1', { data: { name: 'a', size: 2 } })
    expect(rows.no(VOLUME, ask('migrate', { cluster: rows.topic }))).toMatchObject({ guard: 'isElsewhere' })
    rows.put('volume', 'v1', { children: { snapshot: 1 } })
    expect(rows.no(VOLUME, ask('migrate', { cluster: target }))).toMatchObject({ guard: 'hasNoSnapshots' })
  })
})

describe.each(clusterings)('Attachments, $clustering', ({ cluster }) => {
  function volume(data: JsonObject = {}) {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1', { data: { name: 'a', size: 1, ...data } })
    return rows
  }
  const at = (host: string, mode = 'rw') => ({ host, device: '/dev/vdb', mode })

  test('a second one is taken only where multiattach is allowed, and never twice at one place', () => {
    const single = volume()
    single.ask(VOLUME, 'attach', at('g1'))
    expect(single.no(VOLUME, ask('attach', at('g2')))).toMatchObject({
      guard: 'mayAttachMore',
      found: 'in-use',
    })
    const several = volume({ multiattach: true })
    several.ask(VOLUME, 'attach', at('g1'))
    several.ask(VOLUME, 'attach', at('g2'))
    expect(several.no(VOLUME, ask('attach', at('g2')))).toMatchObject({ guard: 'isNotAttachedThere' })
    expect(several.row(VOLUME).data.attachments).toHaveLength(2)
  })

  test('of several, a detach says which; the status follows from what is left', () => {
    const rows = volume({ multiattach: true })
    rows.ask(VOLUME, 'attach', at('g1'))
    rows.ask(VOLUME, 'attach', at('g2'))
    expect(rows.no(VOLUME, ask('detach'))).toMatchObject({ guard: 'isAttachedThere' })
    expect(rows.no(VOLUME, ask('detach', { host: 'g3' }))).toMatchObject({ guard: 'isAttachedThere' })
    rows.ask(VOLUME, 'begin_detaching')
    rows.ask(VOLUME, 'detach', { host: 'g1' })
    expectAtRest(rows.row(VOLUME), 'in-use')
    rows.ask(VOLUME, 'detach')
    expectAtRest(rows.row(VOLUME), 'available')
    expect(rows.row(VOLUME).data.attachments).toBeUndefined()
  })

  test('a reservation keeps others out, and gives back what was', () => {
    const rows = volume()
    rows.ask(VOLUME, 'reserve')
    rows.no(VOLUME, ask('delete'))
    rows.ask(VOLUME, 'unreserve')
    expectAtRest(rows.row(VOLUME), 'available')
    rows.ask(VOLUME, 'reserve')
    rows.ask(VOLUME, 'attach', at('g1'))
    rows.ask(VOLUME, 'begin_detaching')
    rows.ask(VOLUME, 'roll_detaching')
    expectAtRest(rows.row(VOLUME), 'in-use')
  })

  test('a volume that is read only is not attached for writing', () => {
    const rows = volume()
    rows.ask(VOLUME, 'set_readonly', { readonly: true })
    expect(rows.no(VOLUME, ask('attach', at('g1')))).toMatchObject({ guard: 'mayWrite' })
    rows.ask(VOLUME, 'attach', at('g1', 'ro'))
  })

  test('an attached volume is not deleted, in whatever status', () => {
    const rows = volume()
    rows.ask(VOLUME, 'attach', at('g1'))
    rows.no(VOLUME, ask('delete'))
    rows.ask(VOLUME, 'reset_status', { status: 'error' })
    expect(rows.no(VOLUME, ask('delete'))).toMatchObject({ guard: 'isDetached' })
  })
})

test('an incremental backup keeps the one it builds on', () => {
  const rows = new Rows('ssd')
  rows.put('volume', 'v1', { data: { name: 'a', size: 1 } })
  rows.put('backup', 'b1', { data: { name: 'b', volume_id: 'v1', size: 1 } })
  rows.ask('backup/b2', 'create', { name: 'c', volume_id: 'v1', parent_id: 'b1' })
  expect(rows.row('backup/b1').children).toEqual({ backup: 1, [USED]: 1 })
  rows.claim('backup/b2')
  rows.end('backup/b2', 'done')
  for (const operation of ['delete', 'force_delete'])
    expect(rows.no('backup/b1', ask(operation))).toMatchObject({ guard: 'hasNoDependents' })
  rows.ask('backup/b2', 'delete')
  rows.claim('backup/b2')
  rows.end('backup/b2', 'done')
  rows.ask('backup/b1', 'delete')
  rows.put('backup', 'b3', { data: { name: 'b', volume_id: 'v9', size: 1 } })
  expect(rows.no('backup/b4', ask('create', { name: 'c', volume_id: 'v1', parent_id: 'b3' }))).toMatchObject({
    guard: 'isOfSameVolume',
  })
})

test.each(['volume', 'snapshot', 'backup'])('a driver that says busy leaves a %s as it was', (kind) => {
  const rows = new Rows('ssd')
  rows.put('volume', 'v1', { data: { name: 'a', size: 1 } })
  const id = kind === 'volume' ? 'v1' : 'x'
  rows.put(kind, id, { data: { name: 'a', size: 1, volume_id: 'v1' } })
  rows.ask(`${kind}/${id}`, 'delete')
  rows.claim(`${kind}/${id}`)
  rows.end(`${kind}/${id}`, 'failed', { error: { code: 'busy', message: 'it is being read' } })
  expectAtRest(rows.row(`${kind}/${id}`), 'available')
  expect(rows.row(`${kind}/${id}`).error).toMatchObject({ code: 'busy' })
})
