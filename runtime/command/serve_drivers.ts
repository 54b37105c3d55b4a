// The drivers that `serve` can give its nodes: those of this package by name, and a user's own from a module.
// It makes a driver and starts nothing.

import { join } from 'node:path'
import { z } from 'zod'
import { nearest } from '../../machines/error.ts'
import { fileDriver } from '../drivers/file.ts'
import { noopDriver } from '../drivers/noop.ts'
import { qemuDriver } from '../drivers/qemu.ts'
import type { Driver, Issue } from '../index.ts'
import { faultsIn } from './configuration.ts'
import { badFile, moduleFrom } from './module_file.ts'

/** What a driver is made for; what a module's function is given as well. */
export interface DriverRequest {
  /** `cluster@backend`. */
  readonly topic: string
  readonly backend: string
  readonly folder: string
  readonly options: { readonly [name: string]: unknown }
}

const spec = z.union([z.string(), z.number(), z.boolean()])
const told = z.strictObject({
  reserved_percent: z.number().min(0).max(100).optional(),
  thin: z.boolean().optional(),
  max_over_subscription: z.number().min(0).optional(),
  multiattach: z.boolean().optional(),
  specs: z.record(z.string(), spec).optional(),
})
const options = z.strictObject({
  piece_bytes: z.int().min(4_096, 'at least 4096 are needed').optional(),
  keep_marks_ms: z.int().min(1, 'a whole number of at least 1 is needed').optional(),
  capabilities: told.optional(),
})

/** By name: the folder of the data folder that it works in, what options it takes, and how it is made. */
const BUILT_IN: Readonly<
  Record<string, { in: string; options: z.ZodObject; make(folder: string, given: never): Driver }>
> = {
  file: { in: 'images', options, make: fileDriver },
  qemu: {
    in: 'qcow2',
    options: options.extend({
      command: z.string().min(1).optional(),
      capabilities: told.omit({ thin: true }).optional(),
    }),
    make: qemuDriver,
  },
  noop: { in: 'noop', options: z.strictObject({}), make: () => noopDriver() },
}

export const DRIVERS = Object.keys(BUILT_IN)

/** Whether a name means a module and not a driver of this package. */
export function isModule(driver: string): boolean {
  return /[/\\]|\.[cm]?[jt]s$/.test(driver)
}

/** Where its things are when no folder is given: in the data folder, by the topic. */
export function folderOf(data: string, driver: string, topic: string): string {
  return join(data, BUILT_IN[driver]?.in ?? 'backends', topic)
}

/** The fault of a name that no driver has; null where there is one. */
export function faultOfName(driver: string): string | null {
  if (isModule(driver) || Object.hasOwn(BUILT_IN, driver)) return null
  return `is no driver${nearest(driver, DRIVERS) || `; known: ${DRIVERS.join(', ')}`}; one of your own is a path, such as ./driver.js`
}

/** The faults of what a driver of this package is given; a module says itself what it takes. */
export function faultsOfOptions(driver: string, given: unknown): readonly Issue[] {
  const found = BUILT_IN[driver]
  return found === undefined ? [] : faultsIn(found.options, given)
}

/** `module` is the path where the driver is one. Throws Exit where a module gives no driver. */
export async function makeDriver(driver: string, request: DriverRequest): Promise<Driver> {
  const found = BUILT_IN[driver]
  if (found !== undefined) return found.make(request.folder, request.options as never)
  const exported = (await moduleFrom(driver)) as { driver?: unknown; default?: unknown }
  const given = exported.driver ?? exported.default
  let made: unknown
  try {
    made = typeof given === 'function' ? await given(request) : given
  } catch (error) {
    throw badFile(driver, `its driver can't be made: ${(error as Error)?.message ?? String(error)}`)
  }
  if (typeof (made as Partial<Driver> | null | undefined)?.operations !== 'object')
    throw badFile(
      driver,
      'it exports no driver; export `driver` (or a default): { operations: ... }, or a function that makes one',
    )
  return made as Driver
}
