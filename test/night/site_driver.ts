// The backend of the sites: one file each, replaced as a whole, so every method may be run again half-way. It
// can't tell an older claim from a newer one, as many backends can't; and while a file says so the calls of one
// node hang there and hear no signal, as on a mount that does not answer.

import { existsSync } from 'node:fs'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Driver, DriverContext } from '../../runtime/driver.ts'

/** Named in the file: the `host@backend` whose calls hang. */
export const HANGING = 'hanging'

export function driver({
  folder,
  options,
}: {
  readonly folder: string
  readonly options: { readonly free_gib?: number; readonly work_ms?: number }
}): Driver {
  const { free_gib = 1, work_ms = 20 } = options
  const placeOf = (id: string) => join(folder, `${id}.json`)

  /** Half of the work comes before the effect. */
  async function working({ row, signal, progress }: DriverContext): Promise<void> {
    progress(0.5, 'half-way')
    await pause(work_ms)
    let hung = false
    while ((await readFile(join(folder, HANGING), 'utf8').catch(() => '')) === row.worker) {
      hung = true
      await pause(50)
    }
    if (hung) throw new Error('the mount was taken away')
    signal.throwIfAborted()
  }

  async function write(id: string, revision: number, fence: number): Promise<void> {
    const half = `${placeOf(id)}.${fence}.half`
    const file = await open(half, 'w')
    try {
      await file.writeFile(JSON.stringify({ revision }))
      await file.datasync()
    } finally {
      await file.close()
    }
    await rename(half, placeOf(id))
  }

  return {
    async setup() {
      await mkdir(folder, { recursive: true })
    },
    capabilities: async () => ({ total_gib: 100, free_gib }),
    operations: {
      site: {
        async create(context) {
          await working(context)
          await write(context.row.id, 0, context.fence)
        },
        async publish(context) {
          await working(context)
          if (!existsSync(placeOf(context.row.id))) throw new Error('there is no such site')
          await write(context.row.id, Number(context.input.revision), context.fence)
        },
        async remove(context) {
          await working(context)
          await rm(placeOf(context.row.id), { force: true })
        },
      },
    },
  }
}
