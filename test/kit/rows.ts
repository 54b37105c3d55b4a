// Rows in memory and the decisions over them, as commit.ts would swap them: for tests of what an event makes
// of rows, without a store or a runtime. It runs no command; it only notes what was asked for.

import { type Accepted, type Decision, decide, type Refused, relatedRefs } from '../../machines/decision.ts'
import { checkTypes, type ResourceType } from '../../machines/definition.ts'
import { backup, emptyRow, type ResourceEvent, snapshot, volume } from '../../machines/index.ts'
import type { Claimant } from '../../machines/resource.ts'
import type { JsonObject, ResourceRow, ServiceRow } from '../../machines/row.ts'
import { limits, serviceRow } from './matrix.ts'

export class Rows {
  readonly rows = new Map<string, ResourceRow>()
  readonly cluster: string
  readonly types: ReadonlyMap<string, ResourceType>
  /** What the last accepted decision asked the runtime for. */
  asked: readonly string[] = []
  #at = 1_000

  constructor(cluster: string, types: readonly ResourceType[] = [volume, snapshot, backup]) {
    this.cluster = cluster
    this.types = checkTypes(types)
  }

  get topic(): string {
    return `${this.cluster}@file`
  }

  row(key: string): ResourceRow {
    return this.rows.get(key)!
  }

  put(kind: string, id: string, change: Partial<ResourceRow> = {}): ResourceRow {
    const row = { ...emptyRow(kind, id, this.topic), version: 1, status: 'available', ...change }
    this.rows.set(`${kind}/${id}`, row)
    return row
  }

  send(key: string, event: object): Decision {
    const [kind, id] = key.split('/') as [string, string]
    const before = this.rows.get(key) ?? emptyRow(kind, id, this.topic)
    const sent = { at: this.#at++, ...event } as unknown as ResourceEvent
    const loaded = new Map<string, ResourceRow | undefined>()
    for (;;) {
      const missing = relatedRefs(this.types, before, sent, loaded).filter(
        (ref) => !loaded.has(`${ref.kind}/${ref.id}`),
      )
      if (missing.length === 0) break
      for (const ref of missing) loaded.set(`${ref.kind}/${ref.id}`, this.rows.get(`${ref.kind}/${ref.id}`))
    }
    const decision = decide(this.types, before, loaded, sent)
    if (decision.accepted) {
      for (const row of decision.changes) this.rows.set(`${row.kind}/${row.id}`, row)
      this.asked = decision.commands.map(({ type }) => type)
    }
    return decision
  }

  ok(key: string, event: object): Accepted {
    const decision = this.send(key, event)
    if (!decision.accepted) throw new Error(`${JSON.stringify(event)} refused: ${JSON.stringify(decision)}`)
    return decision
  }

  no(key: string, event: object): Refused {
    const decision = this.send(key, event)
    if (decision.accepted) throw new Error(`${JSON.stringify(event)} was accepted`)
    return decision
  }

  ask(key: string, operation: string, input: JsonObject = {}): Accepted {
    return this.ok(key, { type: operation, input, request_id: null, related: {} })
  }

  claimant(host = 'h1', incarnation = 1, change: Partial<ServiceRow> = {}): Claimant {
    const service = serviceRow({
      id: `${change.cluster ?? this.cluster}@file@${host}`,
      cluster: this.cluster,
      host,
      incarnation,
      ...change,
    })
    return { worker: `${host}@file`, host, incarnation, service }
  }

  /** By a node of the topic that the row is queued at. */
  claim(key: string, host = 'h1', incarnation = 1): Accepted {
    const cluster = this.row(key).worker!.split('@')[0]!
    return this.ok(key, { type: 'claim', claimant: this.claimant(host, incarnation, { cluster }) })
  }

  /** An end told by whoever has the row now. */
  end(key: string, how: 'done' | 'failed', more: object = {}): Accepted {
    const row = this.row(key)
    const name = row.operation!.cleanup === null ? row.operation!.name : 'cleanup'
    const error = { code: 'driver_failed', message: 'it broke' }
    const owned = { claimant: this.claimant(row.host!, row.incarnation!), fence: row.fence }
    return this.ok(key, {
      type: `${name}.${how}`,
      ...owned,
      changes: {},
      error,
      not_before: 0,
      limits,
      ...more,
    })
  }

  /** The life that has the row is over. */
  clean(key: string, at_backend = false, change: object = {}): Decision {
    const { worker, incarnation } = this.row(key)
    const reason = `${worker} went down`
    return this.send(key, { type: 'cleanup', worker, incarnation, at_backend, reason, limits, ...change })
  }
}
