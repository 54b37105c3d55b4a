// The real file system with someone watching: asked before each call, in order. The watcher may throw
// (a process that crashed does so from there on) or wait (the process is stalled there).

import * as fs from 'node:fs/promises'
import type { Disk } from '../../runtime/drivers/file/backend.ts'

/** `name` is that of the call, `open` or `handle.write`; `path` is its first argument or the handle's file. */
export type Watcher = (name: string, path: string) => Promise<void> | void

/** Calls that change nothing. To crash or stall before one is to do so before the next effect; opening counts as one. */
const HARMLESS = ['readdir', 'readFile', 'stat', 'statfs', 'handle.read', 'handle.stat', 'handle.close']

export function isEffect(name: string): boolean {
  return !HARMLESS.includes(name)
}

export function watchedDisk(watch: Watcher): Disk {
  return watched({ ...fs }, '', async (name, args, result) => {
    const [path] = args as [string]
    await watch(name, path)
    const value = await result()
    if (name !== 'open') return value
    return watched(value as object, 'handle.', async (call, _, act) => {
      // The files of a crashed process are closed too; nobody is asked.
      if (call !== 'handle.close') await watch(call, path)
      return act()
    })
  }) as Disk
}

type Call = (name: string, args: unknown[], result: () => unknown) => Promise<unknown>

function watched(target: object, prefix: string, call: Call): object {
  return new Proxy(target, {
    get(_, key) {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => call(prefix + String(key), args, () => value.apply(target, args))
    },
  })
}

export class Crash extends Error {}

/** Crashes before the `n`th effect (from 0): it and all that follows never happen. */
export function crashingDisk(n: number): { disk: Disk; crashed(): boolean } {
  let effects = 0
  let crashed = false
  const disk = watchedDisk((name) => {
    if (isEffect(name) && effects++ === n) crashed = true
    if (crashed) throw new Crash(`crashed before effect ${n}`)
  })
  return { disk, crashed: () => crashed }
}

/** Stalls before the `n`th effect (from 0) until released. */
export function stallingDisk(n: number): { disk: Disk; stalled: Promise<'stalled'>; release(): void } {
  let effects = 0
  let release = () => {}
  let onStall = (_: 'stalled') => {}
  const stalled = new Promise<'stalled'>((resolve) => {
    onStall = resolve
  })
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const disk = watchedDisk(async (name) => {
    if (!isEffect(name) || effects++ !== n) return
    onStall('stalled')
    await released
  })
  return { disk, stalled, release }
}
