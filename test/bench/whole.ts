// The whole runtime under load: accept, claim, no-op driver, finish, each step on disk (fsync) in a JSON
// store of its own folder. An operation is over when `settled()` resolves, which is after the finish's flush.

import { volume } from '../../machines/volume.ts'
import { noopDriver } from '../../runtime/drivers/noop.ts'
import { createRuntime } from '../../runtime/runtime.ts'
import { jsonStore } from '../../store/index.ts'

/** How many nodes of one cluster there are, and how many operations each works on at once. */
export interface Size {
  readonly nodes: number
  readonly working: number
}

/** Opens a runtime of one cluster with no-op drivers over a store in that folder. */
export function openRuntime(folder: string, { nodes, working }: Size) {
  return createRuntime({
    store: jsonStore(folder),
    resources: [volume],
    nodes: Array.from({ length: nodes }, (_, i) => ({
      cluster: 'bench',
      backend: 'noop',
      host: `h${i + 1}`,
      driver: noopDriver(),
    })),
    settings: { concurrency: working },
  })
}

export type BenchRuntime = Awaited<ReturnType<typeof openRuntime>>

/** One operation from its accept to its durable end. */
export async function createOnce(runtime: BenchRuntime): Promise<void> {
  const made = await runtime.volume.create({ name: 'bench', size: 1 })
  if (!made.ok) throw new Error(made.message)
  const settled = await made.settled()
  if (!settled.ok) throw new Error(settled.error.message)
}
