// The clients of a simulated run: they ask for operations at some process, ask again with the same request id,
// cancel, look, and remember what they were told. What was acknowledged must be there after any crash; what was
// refused must not; and one order must explain all that they were told.

import { isCreate, type ResourceType } from '../../../machines/definition.ts'
import type { JsonObject, RequestRow, ResourceRow } from '../../../machines/row.ts'
import { asList } from '../../../machines/table.ts'
import type { Answer, Runtime } from '../../../runtime/api.ts'
import { RekindleError } from '../../../runtime/error.ts'
import { History, recordedClient } from '../history.ts'
import { type CheckedInput, type CheckedInputs, withIds } from '../inputs.ts'
import type { Choices, Random } from './choices.ts'
import type { Invariants } from './invariants.ts'
import type { SimulatedWorld } from './world.ts'

type Command =
  | { readonly type: 'ask'; readonly kind: string; readonly operation: string; readonly input: CheckedInput }
  | { readonly type: 'cancel'; readonly kind: string }
  | { readonly type: 'look'; readonly kind: string }
  | { readonly type: 'again' }

interface Asked {
  readonly request_id: string
  readonly kind: string
  readonly id: string | null
  readonly operation: string
  readonly input: JsonObject
  told: 'nothing' | 'accepted' | 'refused'
  /** More than one call was made under this id, so a refusal of one of them says nothing. */
  isRepeated: boolean
  /** Which resource it was accepted for. */
  accepted: { readonly key: string; readonly version: number } | null
}

/** How many rows back a command may reach for the one it is about. */
const REACH = 3

export interface Reached {
  readonly name: string
  /** Null where the process is not there or does not answer. */
  readonly answering: Runtime | null
}

export class Clients {
  readonly #world: SimulatedWorld
  readonly #choices: Choices
  readonly #invariants: Invariants
  readonly #types: ReadonlyMap<string, ResourceType>
  readonly #commands: Command[] = []
  readonly #weights: number[]
  readonly #asked: Asked[] = []
  #moments = 0
  /** Whatever happens later has a higher number: one thread does everything. */
  readonly #history = new History(() => ++this.#moments)

  constructor(
    world: SimulatedWorld,
    invariants: Invariants,
    types: readonly ResourceType[],
    inputs: CheckedInputs,
    random: Random,
    mayForce: boolean,
  ) {
    this.#world = world
    this.#choices = world.choices
    this.#invariants = invariants
    this.#types = new Map(types.map((type) => [type.kind, type]))
    for (const { kind, table } of types) {
      for (const [operation, { follows, force }] of Object.entries(table.operations))
        if (follows === undefined && (mayForce || force !== true))
          for (const input of inputs.get(kind)!.get(operation)!)
            this.#commands.push({ type: 'ask', kind, operation, input })
      this.#commands.push({ type: 'cancel', kind }, { type: 'look', kind })
    }
    this.#commands.push({ type: 'again' })
    // Some runs ask for some operations often and for others never; what makes and what works weighs more.
    this.#weights = this.#commands.map((command) => {
      const most = command.type === 'ask' ? this.#mostOf(command) : 1
      return random() < 0.7 ? most * (0.2 + random()) : command.type === 'ask' && most === 4 ? 1 : 0
    })
  }

  #mostOf({ kind, operation }: Extract<Command, { type: 'ask' }>): number {
    const shape = this.#types.get(kind)!.table.operations[operation]!
    if (isCreate(shape)) return 4
    return shape.via === undefined ? 0.4 : 3
  }

  /** Once a step: maybe somebody asks for something. */
  turn(rate: number, processes: readonly Reached[]): void {
    const reach = REACH * processes.length
    const choice = this.#choices.of('client', {
      count: 1 + this.#commands.length * reach,
      rate,
      draw: (random) => this.#draw(random, reach),
      say: (chosen) => this.#say(chosen, processes),
    })
    if (choice === 0) return
    const { command, back, where } = this.#read(choice)
    const { name, answering } = processes[where]!
    if (answering !== null) this.#give(answering, name, command, back)
  }

  #read(choice: number): { command: Command; back: number; where: number } {
    const rest = Math.floor((choice - 1) / this.#commands.length)
    return {
      command: this.#commands[(choice - 1) % this.#commands.length]!,
      back: rest % REACH,
      where: Math.floor(rest / REACH),
    }
  }

  /** Prefers what the row of now would take, for refusals alone lead nowhere. */
  #draw(random: Random, reach: number): number {
    const total = this.#weights.reduce((sum, weight) => sum + weight, 0)
    for (let tries = 0; ; tries++) {
      let left = random() * total
      let index = -1
      while (left >= 0 && index < this.#weights.length - 1) left -= this.#weights[++index]!
      // The newest row and the first process most often.
      const choice = 1 + index + this.#commands.length * Math.floor(random() * reach)
      const { command, back } = this.#read(choice)
      if (tries > 6 || this.#isPromising(command, back) || random() < 0.1) return choice
    }
  }

  #isPromising(command: Command, back: number): boolean {
    if (command.type === 'again') return this.#asked.length > 0
    const row = this.#rowOf(command.kind, back)
    if (command.type === 'cancel') return row?.operation != null
    if (command.type === 'look') return row !== undefined
    const operation = this.#types.get(command.kind)!.table.operations[command.operation]!
    for (const { kind } of command.input.ids) if (this.#rowOf(kind, 0) === undefined) return false
    if (isCreate(operation)) return true
    if (row === undefined) return false
    return operation.from === 'any' || asList(operation.from).includes(row.status)
  }

  #rowOf(kind: string, back: number): ResourceRow | undefined {
    const rows: ResourceRow[] = []
    for (const row of this.#invariants.rows.values())
      if (row.kind === kind && row.status !== 'gone') rows.push(row)
    return rows[Math.max(0, rows.length - 1 - back)]
  }

  #say(choice: number, processes: readonly Reached[]): string {
    const { command, back, where } = this.#read(choice)
    const at = `at ${processes[where]?.name ?? '?'}`
    if (command.type === 'again') return `the last request again ${at}`
    const which = back === 0 ? 'the newest' : `${back} before the newest`
    if (command.type !== 'ask') return `${command.type} ${command.kind}, ${which}, ${at}`
    const isNew = this.#invariants.isCreate(command.kind, command.operation)
    return `${command.operation} ${command.kind}${isNew ? '' : `, ${which},`} ${at}`
  }

  #give(runtime: Runtime, where: string, command: Command, back: number): void {
    if (command.type === 'again') {
      const last = this.#asked.at(-1)
      if (last !== undefined) this.#ask(runtime, where, last, true)
      return
    }
    const row = this.#rowOf(command.kind, back)
    if (command.type !== 'ask') {
      if (row === undefined) return
      this.#message(where, `${command.type} ${row.kind}/${row.id}`)
      const client = recordedClient(runtime, this.#history, `client of ${where}`)
      const answer =
        command.type === 'cancel' ? client.cancel(row.kind, row.id) : client.get(row.kind, row.id)
      answer.catch(() => {})
      return
    }
    const { kind, operation } = command
    const isNew = this.#invariants.isCreate(kind, operation)
    if (!isNew && row === undefined) return
    for (const field of command.input.ids) if (this.#rowOf(field.kind, 0) === undefined) return
    const input = withIds(command.input, 'given', (of) => this.#rowOf(of, 0)!.id)
    const asked: Asked = {
      ...{
        request_id: `request${this.#asked.length + 1}`,
        kind,
        id: isNew ? null : row!.id,
        operation,
        input,
      },
      ...{ told: 'nothing', isRepeated: false, accepted: null },
    }
    this.#asked.push(asked)
    this.#ask(runtime, where, asked, false)
  }

  #message(where: string, text: string): void {
    this.#world.trace.add({ kind: 'message', lane: 'client', to: `api ${where}`, text })
  }

  #ask(runtime: Runtime, where: string, asked: Asked, isRepeated: boolean): void {
    const { kind, id, operation, input, request_id } = asked
    if (isRepeated) asked.isRepeated = true
    this.#message(where, `${operation} ${kind}${id === null ? '' : `/${id}`} (${request_id})`)
    const answered = (text: string) =>
      this.#world.trace.add({ kind: 'message', lane: `api ${where}`, to: 'client', text })
    const client = recordedClient(runtime, this.#history, `client of ${where}`)
    client.accept(kind, id, operation, input, { request_id }).then(
      (answer) => {
        answered(`${request_id}: ${answer.ok ? 'accepted' : answer.reason}`)
        this.#told(asked, answer)
      },
      (error: unknown) => {
        answered(`${request_id}: ${String(error).slice(0, 100)}`)
        // Nothing was written; any other failure leaves it open.
        if (error instanceof RekindleError && error.code === 'store_refused') asked.told = 'refused'
      },
    )
  }

  #told(asked: Asked, answer: Answer): void {
    if (!answer.ok) {
      if (asked.told === 'accepted')
        this.#invariants.violated('durable_is_visible', `${asked.request_id} was accepted and is now refused`)
      asked.told = 'refused'
      return
    }
    const key = `${answer.row.kind}/${answer.id}`
    if (asked.accepted !== null && asked.accepted.key !== key)
      this.#invariants.violated(
        'durable_is_visible',
        `${asked.request_id} was accepted for ${asked.accepted.key}, and again for ${key}`,
      )
    asked.told = 'accepted'
    asked.accepted ??= { key, version: answer.repeated ? 1 : answer.row.version }
  }

  /** What clients were told is what the store shows. */
  check(): void {
    for (const { request_id, told, isRepeated, accepted } of this.#asked) {
      const request = this.#invariants.all.get(`request/${request_id}`) as RequestRow | undefined
      if (told === 'refused' && !isRepeated && request !== undefined)
        this.#invariants.violated('durable_is_visible', `${request_id} was refused and is there`)
      if (told !== 'accepted' || accepted === null) continue
      if (request === undefined)
        this.#invariants.violated('durable_is_visible', `${request_id} was accepted and is not there`)
      const row = this.#invariants.rows.get(accepted.key)
      if ((row?.version ?? 0) < accepted.version)
        this.#invariants.violated(
          'durable_is_visible',
          `${accepted.key} was acknowledged at version ${accepted.version} and is ${row === undefined ? 'not there' : `at ${row.version}`}`,
        )
    }
  }

  /** One order explains what all clients were told, resource by resource. */
  checkHistory(): void {
    const result = this.#history.check([...this.#types.values()])
    if (result.verdict === 'not_linearizable') this.#invariants.violated('linearizable', result.explanation)
    if (result.verdict === 'undecided')
      this.#invariants.violated('linearizable', `too long to decide for ${result.keys.join(', ')}`)
  }
}
