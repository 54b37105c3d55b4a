// One pure step of any chart: (snapshot, event) -> (snapshot, commands). Nothing is executed here; what
// a chart asks for comes back as data. The four drivers of the charts (live runtime, simulation,
// exploration, picture) all stand on this seam.

import { type AnyEventObject, type AnyMachineSnapshot, type AnyStateMachine, createActor } from 'xstate'

/** What a chart asks for: the name of an action of its vocabulary, with its parameters. */
export interface Command {
  readonly type: string
  readonly params: { readonly [name: string]: unknown }
}

export interface Step<S extends AnyMachineSnapshot = AnyMachineSnapshot> {
  readonly snapshot: S
  readonly commands: readonly Command[]
}

interface Collected {
  readonly type: string
  readonly params?: unknown
}

/**
 * A chart made ready for stepping. `step` never executes an action: xstate hands every action that is
 * not an assignment to the scope's `actionExecutor`, and ours only writes it down. The scope is made once,
 * since building it costs five times the transition itself.
 */
export class Stepper {
  readonly machine: AnyStateMachine
  readonly #templates = new Map<string, AnyMachineSnapshot>()
  readonly #scope: Parameters<AnyStateMachine['transition']>[2]
  #collected: Collected[] = []

  constructor(machine: AnyStateMachine) {
    this.machine = machine
    const self = createActor(machine)
    this.#scope = {
      self,
      defer: () => {},
      id: '',
      logger: () => {},
      sessionId: '',
      stopChild: () => {},
      system: self.system,
      emit: () => {},
      actionExecutor: (action: Collected) => {
        this.#collected.push(action)
      },
    } as unknown as Parameters<AnyStateMachine['transition']>[2]
  }

  /** The snapshot of a state value (`available`, or `extending.queued`) with this context. */
  at(path: string, context: object): AnyMachineSnapshot {
    let template = this.#templates.get(path)
    if (template === undefined) {
      const [status, sub] = path.split('.') as [string, string | undefined]
      template = this.machine.resolveState({
        value: sub === undefined ? status : { [status]: sub },
        context,
      }) as AnyMachineSnapshot
      this.#templates.set(path, template)
    }
    return { ...template, context } as AnyMachineSnapshot
  }

  /** Null where the chart does not accept the event in this state. Pure. */
  step(snapshot: AnyMachineSnapshot, event: AnyEventObject): Step | null {
    this.#collected = []
    const next = this.machine.transition(snapshot, event, this.#scope) as AnyMachineSnapshot
    // An event that is unknown here or that its guards refuse gives back the very same snapshot and asks for
    // nothing; every accepting transition has a target, an assignment, or a command.
    if (next === snapshot && this.#collected.length === 0) return null
    const commands = this.#collected.map(({ type, params }) => ({
      type,
      params: (params ?? {}) as Command['params'],
    }))
    this.#collected = []
    return { snapshot: next, commands }
  }
}

/** `extending.queued` for `{ extending: 'queued' }`. The charts here nest at most two deep. */
export function pathOf(value: unknown): string {
  if (typeof value === 'string') return value
  const [status, sub] = Object.entries(value as Record<string, string>)[0]!
  return `${status}.${sub}`
}
