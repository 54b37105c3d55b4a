// Where the time of one operation goes: V8's CPU profiler over the whole runtime with 64 in flight, self time
// grouped into parts by source file and function. Sampled, so a part is right to about a per cent; what a
// native function takes is told by its name, or belongs to the function that called it.

import { type Profiler, Session } from 'node:inspector'
import { join } from 'node:path'
import { load, type Timing } from './load.ts'
import { figure, tableText } from './spread.ts'
import { createOnce, openRuntime } from './whole.ts'

export interface ProfilePart {
  readonly part: string
  readonly us_per_operation: number
  /** Of all time in which the processor worked for this thread. */
  readonly share: number
  /** The functions that took most, as `name file:line`. */
  readonly most: readonly { readonly name: string; readonly us_per_operation: number }[]
}

export interface Profile {
  readonly in_flight: number
  readonly operations: number
  readonly per_s: number
  /** CPU of all threads as the system counts it; the parts are the main thread's. */
  readonly cpu_us_per_operation: number
  readonly parts: readonly ProfilePart[]
}

interface Frame {
  readonly functionName: string
  readonly url: string
  readonly lineNumber: number
}

/** First match decides. `file` is looked for in the path, `name` in the function's name. */
const PARTS: readonly { readonly part: string; readonly file?: RegExp; readonly name?: RegExp }[] = [
  { part: 'GC', name: /^\(garbage collector\)$/ },
  { part: 'event loop and native', name: /^\((?:program|root)\)$/ },
  { part: 'serialise', file: /^$/, name: /^(?:stringify|parse|structuredClone)$/ },
  { part: 'serialise', name: /^(?:textOf|jsonOf|lineOf|freezeDeep|deepFreeze|frozen\w*|share\w*)$/ },
  { part: 'guard', file: /\/machines\//, name: /^(?:is|has)[A-Z]|guard/i },
  {
    part: 'transition',
    file: /\/machines\/(?:compiled|step|resource|decision|row|volume|definition|event)\./,
  },
  { part: 'transition', file: /\/machines\// },
  { part: 'actor hops', file: /\/xstate\// },
  { part: 'actor hops', file: /\/runtime\/(?:node|mailbox|doors|turns|waits|directory|scheduler|calls)\./ },
  { part: 'serialise', file: /\/store\/plan\./ },
  { part: 'journal', file: /\/store\/json\// },
  { part: 'journal', file: /node:(?:internal\/)?(?:fs|buffer|zlib)/ },
  { part: 'journal', file: /^$/, name: /^(?:write\w*|fdatasync|fsync|utf8Write\w*|latin1Write\w*|crc32)$/ },
  { part: 'index', file: /\/store\// },
  {
    part: 'commit and work',
    file: /\/runtime\/(?:commit|accept|work|running|cleanup|cleaning|registration)\./,
  },
  { part: 'measures and log', file: /\/runtime\/(?:measures|log)\./ },
  { part: 'commit and work', file: /\/runtime\// },
  { part: 'promises and timers', file: /^node:/ },
  { part: 'promises and timers', file: /^$/, name: /Microtasks|AsyncFunction|Promise/ },
  { part: 'the load itself', file: /\/test\/bench\// },
]

/** Which part of the work a frame belongs to. */
export function partOf({ functionName, url }: Pick<Frame, 'functionName' | 'url'>): string {
  const found = PARTS.find(
    ({ file, name }) => (file?.test(url) ?? true) && (name?.test(functionName) ?? true),
  )
  return found?.part ?? 'other'
}

/** Runs the load under the profiler. The folder gets a store of its own. */
export async function profile(folder: string, timing: Timing): Promise<Profile> {
  const runtime = await openRuntime(join(folder, 'profile'), { nodes: 1, working: timing.in_flight })
  const session = new Session()
  session.connect()
  const post = <T>(method: string, parameters?: object) =>
    new Promise<T>((resolve, reject) =>
      session.post(method, parameters, (error, result) =>
        error === null ? resolve(result as T) : reject(error),
      ),
    )
  try {
    const asked = { do: () => createOnce(runtime) }
    // The warm-up is a load of its own, so that the profile has none of it.
    await load({ ...timing, duration_ms: timing.warm_up_ms, warm_up_ms: 0 }, asked)
    await post('Profiler.enable')
    await post('Profiler.setSamplingInterval', { interval: 250 })
    await post('Profiler.start')
    const loaded = await load({ ...timing, warm_up_ms: 0 }, asked)
    const { profile } = await post<Profiler.StopReturnType>('Profiler.stop')
    return {
      in_flight: timing.in_flight,
      operations: loaded.operations,
      per_s: loaded.per_s,
      cpu_us_per_operation: loaded.cpu_ms * 1000,
      parts: partsOf(profile, loaded.operations),
    }
  } finally {
    session.disconnect()
    await runtime.stop()
  }
}

/** Self time of a profile by part, the largest first. Idle time is nobody's. */
export function partsOf(
  profile: Pick<Profiler.Profile, 'nodes' | 'samples' | 'timeDeltas'>,
  operations: number,
): ProfilePart[] {
  const frames = new Map<number, Frame>(profile.nodes.map(({ id, callFrame }) => [id, callFrame]))
  const parts = new Map<string, Map<string, number>>()
  let total = 0
  for (const [i, id] of (profile.samples ?? []).entries()) {
    const frame = frames.get(id)!
    // A delta is the time before its sample: what ran until the next one is what the sample saw.
    const time = profile.timeDeltas?.[i + 1] ?? 0
    if (frame.functionName === '(idle)' || time < 0) continue
    const part = partOf(frame)
    const functions = parts.get(part) ?? new Map<string, number>()
    parts.set(part, functions)
    const name = nameOf(frame)
    functions.set(name, (functions.get(name) ?? 0) + time)
    total += time
  }
  return [...parts]
    .map(([part, functions]) => {
      const time = [...functions.values()].reduce((sum, one) => sum + one, 0)
      const most = [...functions].sort(([, a], [, b]) => b - a).slice(0, 5)
      return {
        part,
        us_per_operation: time / operations,
        share: time / total,
        most: most.map(([name, us]) => ({ name, us_per_operation: us / operations })),
      }
    })
    .sort((a, b) => b.us_per_operation - a.us_per_operation)
}

function nameOf({ functionName, url, lineNumber }: Frame): string {
  const name = functionName === '' ? '(anonymous)' : functionName
  const file = /([\w-]+\/[\w.-]+)$/.exec(url)?.[1]
  return file === undefined ? name : `${name} ${file}:${lineNumber + 1}`
}

/** The profile as a table; `functions` of each part beside it. */
export function profileText(
  { in_flight, per_s, cpu_us_per_operation, parts }: Profile,
  functions = 3,
): string {
  const rows = parts.map(({ part, us_per_operation, share, most }) => [
    part,
    figure(us_per_operation),
    `${(share * 100).toFixed(1)} %`,
    most
      .slice(0, functions)
      .map(({ name, us_per_operation: us }) => `${name} ${figure(us)}`)
      .join(', '),
  ])
  const sum = parts.reduce((total, one) => total + one.us_per_operation, 0)
  return [
    `${in_flight} in flight, ${figure(per_s)} operations/s under the profiler; CPU of all threads ${figure(cpu_us_per_operation)} µs an operation`,
    '',
    tableText(
      ['part', 'µs an operation', 'share', 'most of it'],
      [...rows, ['together', figure(sum), '', '']],
    ),
  ].join('\n')
}
