// A driver that does nothing, at once, for any kind and operation: for tests and benchmarks. Without
// `fence`, so its calls are waited for (rule R18).

import type { Driver, DriverMethod } from '../driver.ts'

const nothing: DriverMethod = async ({ signal }) => signal.throwIfAborted()

/**
 * Resolves every operation of every kind with nothing, save the methods that are given.
 *
 * @example noopDriver({ volume: { extend: async ({ input }) => ({ size: input.size ?? 0 }) } })
 */
export function noopDriver(given: Driver['operations'] = {}): Driver {
  const kinds = Object.entries(given).map(([kind, methods]) => [kind, anyName(methods, nothing)] as const)
  return { operations: anyName(Object.fromEntries(kinds), anyName({}, nothing)) }
}

/** Answers to every name that an operation or kind may have: `then` is none, and would be called by an await. */
function anyName<T>(known: { readonly [name: string]: T }, other: T): { readonly [name: string]: T } {
  const isName = (name: string | symbol) => typeof name === 'string' && name !== 'then'
  return new Proxy(
    { ...known },
    {
      get: (target, name) =>
        Object.hasOwn(target, name) ? Reflect.get(target, name) : isName(name) ? other : undefined,
      has: (_, name) => isName(name),
    },
  )
}
