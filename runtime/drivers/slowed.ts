// Makes a driver slow, so that a demo or a test has an operation to look at, to cancel or to crash.
// It adds time and nothing else; the signal is honoured while it waits.

import type { Driver, DriverContext, DriverMethod } from '../driver.ts'
import type { Environment } from '../environment.ts'

const PIECES = 10

/** The driver, with `ms` of waiting before each operation; set-up, fence and undo are not slowed. */
export function slowed(driver: Driver, ms: number, environment: Pick<Environment, 'timer'>): Driver {
  const slow =
    (method: DriverMethod): DriverMethod =>
    async (context) => {
      for (let piece = 0; piece < PIECES; piece++) {
        context.progress(piece / (PIECES + 1), 'waiting')
        await pause(ms / PIECES, environment, context.signal)
      }
      return method(afterWaiting(context))
    }
  const { setup, capabilities, fence, undo, export: open } = driver
  return {
    ...(setup && { setup: setup.bind(driver) }),
    ...(capabilities && { capabilities: capabilities.bind(driver) }),
    ...(fence && { fence: fence.bind(driver) }),
    ...(undo && { undo: undo.bind(driver) }),
    ...(open && { export: open.bind(driver) }),
    operations: over(driver.operations, (methods) => over(methods, slow)),
  }
}

/** Looked up when asked for, not only copied: a driver's operations may answer to any name. */
function over<T>(
  names: { readonly [name: string]: T },
  change: (value: T) => T,
): { readonly [name: string]: T } {
  const copied = Object.entries(names).map(([name, value]) => [name, change(value)] as const)
  return new Proxy<{ [name: string]: T }>(Object.fromEntries(copied), {
    get(target, name) {
      if (typeof name !== 'string' || Object.hasOwn(target, name)) return Reflect.get(target, name)
      const value = names[name]
      return value === undefined ? undefined : change(value)
    },
    has: (_, name) => name in names,
  })
}

/** The driver's own progress fills what the waiting left. */
function afterWaiting(context: DriverContext): DriverContext {
  const { row, operation, input, related, relatedRows, source, signal, fence, attempt } = context
  return {
    ...{ row, operation, input, related, relatedRows, source, signal, fence, attempt },
    progress: (fraction, note) => context.progress((PIECES + fraction) / (PIECES + 1), note),
    log: (message, level) => context.log(message, level),
  }
}

function pause(ms: number, environment: Pick<Environment, 'timer'>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const onAbort = () => {
      timer.clear()
      reject(signal.reason)
    }
    const timer = environment.timer(ms, () => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    })
    signal.addEventListener('abort', onAbort, { once: true })
  })
}
