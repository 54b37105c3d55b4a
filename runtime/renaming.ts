// Renames a cluster: writes the mark on its row, then moves what carries the old name, in batches, each one swap.
// The mark is durable and the sweeps look for it, so a crash between two batches only delays the rest, and what
// is accepted late under the old name moves too (rule R16). Any number of processes may move at once.

import { marked, moved, type Names, renamedRow, renamedService, whyNotRenamed } from '../machines/rename.ts'
import type { ClusterRow, ResourceRow, ServiceRow } from '../machines/row.ts'
import {
  type Change,
  type Expectation,
  type Filter,
  type Key,
  keyOf,
  type Store,
  type StoredRow,
} from '../store/store.ts'
import type { CleanupPorts } from './cleanup.ts'
import { listAll } from './registration.ts'

export interface RenamerPorts extends Pick<CleanupPorts, 'types' | 'store' | 'runner' | 'log'> {
  /** What else has the old name moves first; called again after a crash. */
  readonly renamed: ((from: string, to: string) => Promise<void>) | null
}

/** Rows of one swap: few enough that it holds up nobody's. */
const BATCH = 200

/** Lists that a mark could not be written, and why. */
export interface NotMarked {
  readonly expected: string
  readonly found: string
  readonly why: string
}

/** Writes the mark. Resolves with null once it is durable, also where it was there before; else with why not. */
export async function mark(store: Store, names: Names, isToMerge: boolean): Promise<NotMarked | null> {
  for (;;) {
    const look = await lookAt(store, names)
    if (look === null) return null
    const why = await whyNot(store, names, look, isToMerge)
    if (why !== null) return why
    const { row, target, rows, nodes } = look
    const earlier = rows.filter(({ renamed_to }) => renamed_to === names.from)
    const next = marked(row, names.to, target, earlier)
    const expect: Expectation[] = next.map((one) => ({ key: keyOf(one), version: one.version - 1 }))
    // A node of the old name that starts now is a conflict: its registration expects the cluster's row.
    for (const node of nodes) expect.push({ key: keyOf(node), version: node.version })
    const changes = next.map((one) => ({ put: one as unknown as StoredRow }))
    if ((await store.transact(expect, changes)).ok) return null
  }
}

/** Why a mark would not be written now; null where it would. */
export async function whyNotMarked(store: Store, names: Names, isToMerge = false): Promise<NotMarked | null> {
  const look = await lookAt(store, names)
  return look === null ? null : whyNot(store, names, look, isToMerge)
}

interface Look {
  readonly row: ClusterRow
  readonly target: ClusterRow | null
  readonly rows: readonly ClusterRow[]
  /** Nodes under the old name. */
  readonly nodes: readonly ServiceRow[]
}

/** Null where there is nothing to mark: it is marked already, or has vanished. */
async function lookAt(store: Store, { from, to }: Names): Promise<Look | null> {
  const rows = await listAll<ClusterRow>(store, 'cluster')
  const row = rows.find(({ id }) => id === from)
  if (row === undefined || row.renamed_to === to) return null
  const target = rows.find(({ id }) => id === to) ?? null
  const services = await listAll<ServiceRow>(store, 'service')
  return { row, target, rows, nodes: services.filter((one) => topicOf(one) === from) }
}

async function whyNot(store: Store, names: Names, look: Look, isToMerge: boolean): Promise<NotMarked | null> {
  const { from, to } = names
  const why = whyNotRenamed(look.row, look.target)
  if (why !== null) return { expected: 'a name that is free', found: why, why }
  const running = look.nodes.filter(({ state }) => state !== 'down')
  if (running.length > 0) {
    const found = running.map(({ host, state }) => `${host} is ${state}`).join(', ')
    return {
      expected: 'no node that runs under the old name',
      found,
      why: `${found} as a node of ${from}; stop it, or start it with the new name, first`,
    }
  }
  const there = look.target === null ? 0 : await store.count({ cluster: to })
  if (there === 0 || isToMerge) return null
  return {
    expected: 'a name without rows',
    found: `${there} rows`,
    why: `${to} has ${there} rows of its own; give merge where both names are of the same backend`,
  }
}

export class Renamer {
  readonly #ports: RenamerPorts
  #going: Promise<void> | null = null
  #isAskedAgain = false
  #stopped = false

  constructor(ports: RenamerPorts) {
    this.#ports = ports
  }

  /**
   * Moves what carries the old name of any cluster. Resolves when everything that was there has moved. One that
   * runs already looks once more.
   */
  go(): Promise<void> {
    this.#isAskedAgain = true
    this.#going ??= this.#run().finally(() => {
      this.#going = null
    })
    return this.#going
  }

  /** Resolves when the batch under way is over. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#going?.catch(() => {})
  }

  async #run(): Promise<void> {
    while (this.#isAskedAgain && !this.#stopped) {
      this.#isAskedAgain = false
      for (const row of await listAll<ClusterRow>(this.#ports.store, 'cluster'))
        if (row.renamed_to !== undefined) await this.#move(row, { from: row.id, to: row.renamed_to })
    }
  }

  async #move(row: ClusterRow, names: Names): Promise<void> {
    const { store, log, renamed } = this.#ports
    const isFirst = row.renaming === 'moving'
    if (isFirst) await renamed?.(names.from, names.to)
    if (!isFirst && (await this.#countNamed(names)) === 0) return
    let count = 0
    do {
      count += await this.#moveAll({ cluster: names.from }, names)
      count += await this.#moveAll({ worker: names.from, taken: false }, names)
    } while (!this.#stopped && (await this.#countNamed(names)) > 0)
    // Rows of other clusters name this one where an operation of theirs is driven, or in their data.
    if (isFirst)
      for (const { kind, table } of this.#ports.types.values())
        if (table.topics !== undefined || Object.values(table.operations).some(({ at }) => at !== undefined))
          count += await this.#moveAll({ kind }, names)
    await this.#moveServices(names)
    if (this.#stopped) return
    if (isFirst) {
      const next = moved(row)
      const put = next as unknown as StoredRow
      await store.transact([{ key: keyOf(row), version: row.version }], [{ put }])
    }
    log.info(`${names.from} is ${names.to} now: ${count} rows were renamed`, { topic: names.to, rows: count })
  }

  async #countNamed({ from }: Names): Promise<number> {
    const { store } = this.#ports
    return (await store.count({ cluster: from })) + (await store.count({ worker: from, taken: false }))
  }

  /** Every row that matches and carries the old name, once. A row that somebody else changes is left to the next look. */
  async #moveAll(filter: Filter, names: Names): Promise<number> {
    const { store, types } = this.#ports
    let count = 0
    let after: Key | null = null
    do {
      const page: { rows: readonly StoredRow[]; next: Key | null } = await store.list(filter, {
        after,
        limit: BATCH,
      })
      const rows = page.rows as unknown as readonly ResourceRow[]
      const next = rows.flatMap((row) => (types.has(row.kind) ? (renamedRow(types, row, names) ?? []) : []))
      count += await this.#swap(next)
      after = page.next
    } while (after !== null && !this.#stopped)
    return count
  }

  /** One swap for all; without those that somebody else has changed where that is in the way. */
  async #swap(rows: readonly ResourceRow[]): Promise<number> {
    let left = rows
    while (left.length > 0) {
      const expect = left.map((row) => ({ key: keyOf(row), version: row.version - 1 }))
      const changes = left.map((row) => ({ put: row as unknown as StoredRow }))
      // A crash here, or after any batch: the mark is there, and the next sweep of any process goes on.
      const result = await this.#ports.store.transact(expect, changes)
      if (result.ok) break
      const lost = new Set(result.conflicts.map(({ key }) => key))
      left = left.filter((row) => !lost.has(keyOf(row)))
    }
    for (const row of left)
      if (row.operation !== null && row.incarnation === null) this.#ports.runner.ring(row)
    return left.length
  }

  /** The rows of its nodes, which are down; their beats are over. */
  async #moveServices(names: Names): Promise<void> {
    const { store } = this.#ports
    for (const service of await listAll<ServiceRow>(store, 'service')) {
      if (topicOf(service) !== names.from || this.#stopped) continue
      const key = `service/${names.to}@${service.host}`
      const [found, beat] = await Promise.all([store.get(key), store.get(`beat/${service.id}`)])
      const next = renamedService(service, (found as ServiceRow | undefined) ?? null, names.to)
      const expect: Expectation[] = [{ key: keyOf(service), version: service.version }]
      expect.push({ key, version: found?.version ?? 0 })
      expect.push({ key: `beat/${service.id}`, version: beat?.version ?? 0 })
      const changes: Change[] = [{ remove: keyOf(service) }]
      if (next !== null) changes.push({ put: next as unknown as StoredRow })
      if (beat !== undefined) changes.push({ remove: keyOf(beat) })
      // Lost: its row changed meanwhile, and the next look finds it.
      if (!(await store.transact(expect, changes)).ok) this.#isAskedAgain = true
    }
  }
}

const topicOf = ({ cluster, backend }: ServiceRow): string => `${cluster}@${backend}`
