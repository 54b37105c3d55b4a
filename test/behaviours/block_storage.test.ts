// Behaviours of block storage: what a crash leaves of backups, what is refused, what a driver's failure
// means. The numbers are those of the list of checkable behaviours. Cinder's words beside them: the README.

import { describe, expect, test } from 'vitest'
import { DriverError } from '../../runtime/driver.ts'
import { accepted, endOf, FaultRig } from '../kit/fault_rig.ts'
import { clusterings } from '../kit/rig.ts'

describe.each(clusterings)('Block storage, $clustering', ({ cluster }) => {
  async function start() {
    const rig = new FaultRig()
    const runtime = await rig.start({ cluster })
    const id = await rig.volume(runtime)
    return { rig, runtime, id }
  }
  type World = Awaited<ReturnType<typeof start>>

  async function backupOf({ rig, runtime, id }: World): Promise<string> {
    const made = accepted(await rig.until(runtime.backup.create({ name: 'b', volume_id: id })))
    await rig.until(made.settled())
    return made.id
  }

  /** The node that works on it goes down half-way; from then on drivers do what they are asked. */
  async function crash({ rig, runtime }: World): Promise<void> {
    await rig.untilSo(() => rig.backend.running().length > 0)
    const [call] = rig.backend.running()
    rig.backend.behave = () => undefined
    runtime.node(call!.host).kill()
    await rig.untilSo(() => rig.ledger.unrested().length === 0)
  }

  test('24: a backup that was being made ends in error with the reason, and its volume where it was', async () => {
    const world = await start()
    const { rig, runtime, id } = world
    rig.backend.hold()
    const made = accepted(await rig.until(runtime.backup.create({ name: 'b', volume_id: id })))
    await crash(world)
    expect(await runtime.backup.get(made.id)).toMatchObject({
      status: 'error',
      error: { code: 'interrupted' },
    })
    expect(await runtime.volume.get(id)).toMatchObject({ status: 'available', held_by: null })
    await rig.stop()
  })

  test('25: a restore that was interrupted leaves the backup available and its volume in error_restoring', async () => {
    const world = await start()
    const { rig, runtime, id } = world
    const backup = await backupOf(world)
    rig.backend.hold()
    accepted(await rig.until(runtime.backup(backup).restore({ volume_id: id })))
    await crash(world)
    expect((await runtime.backup.get(backup))?.status).toBe('available')
    expect((await runtime.volume.get(id))?.status).toBe('error_restoring')
    await rig.stop()
  })

  test('26: the deletion of a backup that was interrupted is done again', async () => {
    const world = await start()
    const backup = await backupOf(world)
    world.rig.backend.hold()
    accepted(await world.rig.until(world.runtime.backup(backup).delete()))
    await crash(world)
    expect((await world.runtime.backup.get(backup))?.status).toBe('gone')
    await world.rig.stop()
  })

  test('49: an attached, migrating or snapshotted volume is not deleted, and its status stays', async () => {
    const { rig, runtime, id } = await start()
    accepted(await rig.until(runtime.volume(id).attach({ host: 'g1', device: '/dev/vdb' })))
    expect(await rig.until(runtime.volume(id).delete())).toMatchObject({ ok: false, found: 'in-use' })
    accepted(await rig.until(runtime.volume(id).detach()))
    const snapshot = accepted(await rig.until(runtime.snapshot.create({ name: 's', volume_id: id })))
    await rig.until(snapshot.settled())
    expect(await rig.until(runtime.volume(id).delete())).toMatchObject({ ok: false, guard: 'hasNoSnapshots' })
    expect((await runtime.volume.get(id))?.status).toBe('available')
    await rig.stop()
  })

  test('51: a driver that says busy leaves the volume available, without a worker', async () => {
    const { rig, runtime, id } = await start()
    rig.backend.hold()
    const deleting = accepted(await rig.until(runtime.volume(id).delete()))
    await rig.untilSo(() => rig.backend.running().length === 1)
    rig.backend.running()[0]!.fail(new DriverError('busy', 'a copy reads it'))
    expect(endOf(await rig.until(deleting.settled()))).toBe('available: busy')
    expect(await runtime.volume.get(id)).toMatchObject({ worker: null, operation: null })
    await rig.stop()
  })

  test('52: an extend that fails in the driver ends in error_extending, from which it can be deleted', async () => {
    const { rig, runtime, id } = await start()
    rig.backend.hold()
    const extending = accepted(await rig.until(runtime.volume(id).extend({ size: 5 })))
    await rig.untilSo(() => rig.backend.running().length === 1)
    rig.backend.running()[0]!.fail(new Error('it broke'))
    expect(endOf(await rig.until(extending.settled()))).toBe('error_extending: driver_failed')
    rig.backend.behave = () => undefined
    const deleting = accepted(await rig.until(runtime.volume(id).delete()))
    expect(endOf(await rig.until(deleting.settled()))).toBe('gone')
    await rig.stop()
  })

  test('54: reset-status writes the status and takes the mark away; in-use without an attachment is refused', async () => {
    const { rig, runtime, id } = await start()
    rig.backend.hold()
    accepted(await rig.until(runtime.volume(id).extend({ size: 5 })))
    await rig.untilSo(() => rig.backend.running().length === 1)
    expect(await rig.until(runtime.volume(id).reset_status({ status: 'in-use' }))).toMatchObject({
      ok: false,
      guard: 'isAttachedIfInUse',
    })
    await expect(runtime.accept('volume', id, 'reset_status', { status: 'deleting' })).rejects.toMatchObject({
      code: 'bad_input',
    })
    accepted(await rig.until(runtime.volume(id).reset_status({ status: 'error' })))
    expect(await runtime.volume.get(id)).toMatchObject({ status: 'error', worker: null, operation: null })
    await rig.stop()
  })
})
