// createRuntime: the only public way in. It wires charts, store and drivers into one running system and puts
// the typed doors on it.

import type { ResourceType } from '../machines/definition.ts'
import type { Runtime } from './api.ts'
import { type Doors, withDoors } from './doors.ts'
import type { RuntimeOptions, Seams } from './options.ts'
import { RunningRuntime } from './running.ts'

/**
 * Opens the store, starts the nodes and schedulers, and resolves when every node is up or has failed to
 * start. Throws where the settings, the definitions or what is in the store can't work.
 *
 * @example
 * const runtime = await createRuntime({ store: jsonStore('./data'), resources: [volume], nodes })
 * const made = await runtime.volume.create({ name: 'data', size: 1 })
 * if (made.ok) await made.settled()
 * await runtime.stop()
 */
export async function createRuntime<const Types extends readonly ResourceType[]>(
  options: RuntimeOptions<Types>,
  seams: Seams = {},
): Promise<Runtime & Doors<Types>> {
  const running = new RunningRuntime(options, seams)
  await running.start()
  return withDoors(running) as Runtime & Doors<Types>
}
