// What a file driver does for snapshots: one is a copy of its volume's image, and on its own from then on.
// Removing it is in remove.ts.

import type { DriverContext } from '../../driver.ts'
import { type Backend, presentPlace } from './backend.ts'
import { copyImage, sizeOf } from './image.ts'
import { make, takenRow } from './make.ts'
import { reading } from './use.ts'

export async function createSnapshot(backend: Backend, context: DriverContext) {
  const volume = takenRow(context, 'volume', context.row.data.volume_id)
  return make(backend, context, {
    async build(path, claim) {
      const image = await presentPlace(backend, volume)
      await reading(image, context.signal, () => copyImage(backend, image, path, claim))
    },
    facts: async (place) => ({ size: sizeOf((await backend.disk.stat(place)).size, volume.data.size) }),
  })
}
