// The real store on a disk that fails: a failed sync is a lost store (nobody knows what is on disk), a full
// or read-only disk refuses. Either way every node fences itself before others may act, and the system goes
// on by itself when the disk is well again.

import { expect, test } from 'vitest'
import { defaultSettings } from '../../runtime/settings.ts'
import { jsonStore } from '../../store/index.ts'
import type { FileSystem, OpenFile } from '../../store/json/file_system.ts'
import { accepted, endOf, FaultRig } from '../kit/fault_rig.ts'
import { FaultyDisk } from '../kit/faulty_file_system.ts'

/** Fails every writing operation with this code for as long as it is set. */
class IllDisk {
  code: string | null = null
  readonly fileSystem: FileSystem
  constructor(disk: FileSystem) {
    const ill = () => {
      if (this.code !== null)
        throw Object.assign(new Error(`${this.code}: the disk is ill`), { code: this.code })
    }
    const over = <T extends object>(inner: T, names: readonly (keyof T)[]): T =>
      new Proxy(inner, {
        get: (target, name) => {
          const member = target[name as keyof T] as unknown
          if (typeof member !== 'function') return member
          return async (...args: unknown[]) => {
            if (names.includes(name as keyof T)) ill()
            const result = await member.apply(target, args)
            return name === 'create'
              ? over(result as OpenFile, ['write', 'truncate', 'datasync', 'sync'])
              : result
          }
        },
      })
    this.fileSystem = over(disk, ['makeFolder', 'syncFolder', 'create', 'rename', 'remove'])
  }
}

test.each(['EIO', 'ENOSPC', 'EROFS'])(
  'a disk that fails with %s fences every node before down_after, and all go on by themselves when it is well',
  async (code) => {
    const ill = new IllDisk(new FaultyDisk(7).fileSystem())
    const rig = new FaultRig({ source: jsonStore('/data', { file_system: ill.fileSystem }) })
    const hosts = ['h1', 'h2', 'h3']
    const runtime = await rig.start({ nodes: hosts })
    const ids = [
      await rig.volume(runtime, 'a'),
      await rig.volume(runtime, 'b'),
      await rig.volume(runtime, 'c'),
    ]
    rig.backend.hold()
    const accepts = await rig.until(Promise.all(ids.map((id) => runtime.volume(id).delete())))
    const ends = accepts.map((one) => accepted(one).settled().then(endOf))
    await rig.untilSo(() => rig.backend.running().length === 3)
    const running = rig.backend.running()
    const ill_at = rig.environment.monotonic()
    ill.code = code
    const refused = runtime.volume.create({ name: 'x', size: 1 }, { request_id: 'refused' })
    await expect(rig.until(refused)).rejects.toMatchObject({
      code: expect.stringMatching(/^store_(lost|refused)$/),
    })
    await rig.advance(60_000)
    for (const call of running) expect(call.aborted_at! - ill_at).toBeLessThan(defaultSettings.down_after_ms)
    rig.backend.behave = () => undefined
    ill.code = null
    expect(await rig.until(Promise.all(ends))).toEqual(['gone', 'gone', 'gone'])
    await rig.advance(5_000)
    expect(runtime.state()).toBe('open')
    for (const node of runtime.nodes()) {
      expect(node).toMatchObject({ state: 'up', given_up: null })
      expect(node.incarnation).toBeGreaterThan(1)
    }
    await rig.volume(runtime, 'after')
    expect(rig.violations()).toEqual([])
    await rig.stop()
  },
)
