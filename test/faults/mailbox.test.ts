// Doorbells may be dropped, lost, doubled and come in any order: the row is the message (rules R3, R4, R9).

import { expect, test } from 'vitest'
import { Mailbox } from '../../runtime/mailbox.ts'
import type { Key } from '../../store/store.ts'
import { accepted, FaultRig } from '../kit/fault_rig.ts'

test('a full mailbox drops doorbells, holds up nobody and loses no operation', async () => {
  const rig = new FaultRig()
  const mailboxes: Mailbox[] = []
  const runtime = await rig.start({
    nodes: ['h1'],
    settings: { mailbox: 3, concurrency: 1 },
    seams: {
      mailboxFor: (_, capacity) => {
        mailboxes.push(new Mailbox(capacity))
        return mailboxes.at(-1)!
      },
    },
  })
  rig.backend.hold()
  const accepts = await Promise.all(
    Array.from({ length: 50 }, (_, i) => runtime.volume.create({ name: `v${i}`, size: 1 })),
  )
  expect(mailboxes[0]!.dropped).toBeGreaterThan(40)
  rig.backend.behave = () => undefined
  rig.backend.running()[0]?.finish()
  const ends = await rig.until(Promise.all(accepts.map((one) => accepted(one).settled())), 120_000)
  expect(ends.every(({ ok }) => ok)).toBe(true)
  expect(rig.backend.calls).toHaveLength(50)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('operations whose calls do not settle keep no other from its turn', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({
    nodes: ['h1'],
    settings: { mailbox: 2, concurrency: 4, operation_timeout_ms: 2_000 },
  })
  // Aborted, deaf and unfenced: each delete is taken again only when its call settles (rule R18).
  const ids: string[] = []
  for (let i = 0; i < 3; i++) ids.push(await rig.volume(runtime, `v${i}`))
  rig.backend.holdDeaf()
  for (const id of ids) accepted(await runtime.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 3)
  runtime.node('h1').kill()
  await rig.advance(10_000)
  runtime.node('h1').start()
  await rig.advance(500)
  rig.backend.behave = () => undefined
  const others = await Promise.all(
    Array.from({ length: 10 }, (_, i) => runtime.volume.create({ name: `w${i}`, size: 1 })),
  )
  await rig.until(Promise.all(others.map((one) => accepted(one).settled())))
  for (const call of rig.backend.running()) call.finish()
  await rig.untilSo(() => rig.ledger.resources().every(({ operation }) => operation === null))
  await rig.advance(10_000)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

/** By a seed: loses, doubles and shuffles. */
class Unruly extends Mailbox {
  #seed: number
  #late: Key[] = []
  readonly fates = { lost: 0, doubled: 0, late: 0 }
  constructor(capacity: number, seed: number) {
    super(capacity)
    this.#seed = seed
  }

  #next(below: number): number {
    this.#seed = (this.#seed * 1_103_515_245 + 12_345) % 2_147_483_648
    return Math.floor((this.#seed / 2_147_483_648) * below)
  }

  override put(key: Key): void {
    const fate = this.#next(4)
    if (fate === 0) {
      this.fates.lost++
      return
    }
    if (fate === 1) {
      this.fates.late++
      this.#late.push(key)
      return
    }
    super.put(key)
    if (fate === 2) {
      // It comes once more, when the row may ask for something else or for nothing.
      this.fates.doubled++
      this.#late.push(key)
    }
    const late = this.#late.splice(this.#next(this.#late.length), 1)[0]
    if (late !== undefined) super.put(late)
  }
}

test.each([1, 2, 3, 4, 5])(
  'lost, doubled and reordered doorbells (seed %i) change nothing but the time it takes',
  async (seed) => {
    for (const cluster of ['ssd', 'h1']) {
      const rig = new FaultRig()
      const mailboxes: Unruly[] = []
      const runtime = await rig.start({
        nodes: ['h1', 'h2', 'h3'],
        cluster,
        settings: { concurrency: 2 },
        seams: {
          mailboxFor: (_, capacity) => {
            mailboxes.push(new Unruly(capacity, seed))
            return mailboxes.at(-1)!
          },
        },
      })
      const made = await Promise.all(
        Array.from({ length: 12 }, (_, i) => runtime.volume.create({ name: `v${i}`, size: 1 })),
      )
      const ids = made.map((one) => accepted(one).id)
      await rig.until(Promise.all(made.map((one) => accepted(one).settled())))
      const extended = await Promise.all(ids.map((id) => runtime.volume(id).extend({ size: 2 })))
      await rig.until(Promise.all(extended.map((one) => accepted(one).settled())))
      const deleted = await Promise.all(ids.map((id) => runtime.volume(id).delete()))
      const ends = await rig.until(Promise.all(deleted.map((one) => accepted(one).settled())))
      expect(ends.map(({ row }) => row.status)).toEqual(ids.map(() => 'gone'))
      expect(rig.backend.calls).toHaveLength(36)
      for (const count of Object.values(mailboxes[0]!.fates)) expect(count).toBeGreaterThan(0)
      expect(rig.violations()).toEqual([])
      await rig.stop()
    }
  },
)
