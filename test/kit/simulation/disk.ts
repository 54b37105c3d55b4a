// The bad disk under a simulated process: each write and sync is a step of the world, at which a choice may let it
// fail. What a crash leaves of it is faulty_file_system.ts's.

import type { FileSystem, OpenFile } from '../../../store/json/file_system.ts'
import type { FaultyDisk } from '../faulty_file_system.ts'
import type { Place, SimulatedWorld } from './world.ts'

const failures = ['works', 'EIO', 'ENOSPC', 'EROFS'] as const

export class SimulatedDisk {
  readonly #world: SimulatedWorld
  readonly #disk: FaultyDisk
  readonly #rate: () => number
  /** Nothing more can be written before then. */
  fullUntil = 0

  constructor(world: SimulatedWorld, disk: FaultyDisk, rate: () => number) {
    this.#world = world
    this.#disk = disk
    this.#rate = rate
  }

  /** As the process at this place sees it. */
  fileSystem(place: Place): FileSystem {
    const inner = this.#disk.fileSystem()
    return {
      ...inner,
      syncFolder: (path) => this.#step(place, 'sync folder', () => inner.syncFolder(path)),
      create: (path) => this.#step(place, 'create', async () => this.#open(place, await inner.create(path))),
      rename: (from, to) => this.#step(place, 'rename', () => inner.rename(from, to)),
    }
  }

  #open(place: Place, file: OpenFile): OpenFile {
    return {
      write: (bytes, position) => this.#step(place, 'write', () => file.write(bytes, position)),
      truncate: (size) => file.truncate(size),
      datasync: () => this.#step(place, 'datasync', () => file.datasync()),
      sync: () => this.#step(place, 'sync', () => file.sync()),
      close: () => file.close(),
    }
  }

  async #step<A>(place: Place, name: string, run: () => Promise<A>): Promise<A> {
    const choice = this.#world.choices.of(`disk ${name}`, {
      count: failures.length,
      rate: this.#rate(),
      say: (chosen) => failures[chosen]!,
    })
    await this.#world.wait(place, name, 1)
    const isFull = name === 'write' && this.#world.now < this.fullUntil
    const code = choice > 0 ? failures[choice] : isFull ? 'ENOSPC' : undefined
    if (code !== undefined) {
      this.#world.trace.add({ kind: 'fault', lane: 'store', text: `${name}: ${code}` })
      void this.#disk.plan({ at: this.#disk.operations.length + 1, code })
    }
    return run()
  }
}
