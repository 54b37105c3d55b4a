// One pure step of any chart: (state, context, event) -> (state, context, commands). Nothing is executed here;
// what a chart asks for comes back as data. The four drivers of the charts (live runtime, simulation,
// exploration, picture) all stand on this seam.

import type { AnyEventObject, AnyStateMachine } from 'xstate'
import { type CompiledChart, compiled, type Place, type Taken } from './compiled.ts'

/** What a chart asks for: the name of an action of its vocabulary, with its parameters. */
export interface Command {
  readonly type: string
  readonly params: { readonly [name: string]: unknown }
}

export interface Step extends Taken {
  readonly commands: readonly Command[]
}

const NO_PARAMS = {}

/** A chart made ready for stepping. */
export class Stepper {
  readonly machine: AnyStateMachine
  readonly #chart: CompiledChart

  constructor(machine: AnyStateMachine) {
    this.machine = machine
    this.#chart = compiled(machine)
  }

  /** Null where the chart does not accept the event in this state. Pure. */
  step({ path, context }: Place, event: AnyEventObject): Step | null {
    const commands: Command[] = []
    const taken = this.#chart.take(path, context, event, (type, params) =>
      commands.push({ type, params: (params ?? NO_PARAMS) as Command['params'] }),
    )
    if (taken === null) return null
    return { path: taken.path, context: taken.context, definition: taken.definition, commands }
  }
}
