import { describe, expect, test } from 'vitest'
import { accepted, ControlledDriver, clusterings, expectAtRest, World } from '../kit/rig.ts'

describe.each(clusterings)('A restarted node, $clustering', ({ cluster }) => {
  test('16: a restarted node finds exactly its own rows and leaves those of others alone', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver()
    const one = await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    const two = await world.start({ nodes: [{ host: 'h2' }], cluster, driver })
    const other = await world.start({ nodes: [{ host: 'h1' }], cluster, backend: 'tape', driver })
    const topic = `${cluster}@file`
    const a = accepted(await one.runtime.volume.create({ name: 'a', size: 1 }, { cluster: topic })).id
    const b = accepted(await two.runtime.volume.create({ name: 'b', size: 1 }, { cluster: topic })).id
    const c = accepted(
      await other.runtime.volume.create({ name: 'c', size: 1 }, { cluster: `${cluster}@tape` }),
    ).id
    await world.until(() => driver.open.length === 3)
    const before = [await world.row('volume', b), await world.row('volume', c)]
    expect(before.map((row) => row.worker)).toEqual(['h2@file', 'h1@tape'])

    await one.crash()
    await world.start({ nodes: [{ host: 'h1' }], cluster, driver, settings: { schedulers: 1 } })

    expectAtRest(await world.row('volume', a), 'error')
    expect([await world.row('volume', b), await world.row('volume', c)]).toEqual(before)
    expect((await world.service('h1')).incarnation).toBeGreaterThan(0)
  })
})
