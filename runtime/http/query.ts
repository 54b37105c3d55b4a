// What stands behind the question mark, checked: an unknown name or a value that can't be is refused.

import { z } from 'zod'
import { RekindleError } from '../index.ts'
import { shown } from './body.ts'

/** Seconds that a request may wait for the end of its operation. */
export const MOST_WAIT_S = 60

const text = z.string().min(1).max(256)
const wait = z.coerce.number().min(0).max(MOST_WAIT_S)
const offset = z
  .string()
  .regex(/^\d{1,15}$/, 'must be a whole number')
  .transform(Number)

export const queries = {
  none: z.strictObject({}),
  create: z.strictObject({
    operation: text.optional(),
    cluster: text.optional(),
    request_id: text.optional(),
    wait: wait.optional(),
  }),
  operate: z.strictObject({ request_id: text.optional(), wait: wait.optional() }),
  cancel: z.strictObject({ wait: wait.optional() }),
  list: z.strictObject({
    status: text.optional(),
    worker: text.optional(),
    cluster: text.optional(),
    after: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$/, 'is not an id')
      .optional(),
    limit: z
      .string()
      .regex(/^\d{1,4}$/, 'must be a whole number from 1 to 1000')
      .transform(Number)
      .pipe(z.number().min(1).max(1_000))
      .optional(),
  }),
  events: z.strictObject({ from: offset.optional(), kind: text.optional(), id: text.optional() }),
  offset,
} as const

/** The query of a URL as its schema has it. Throws `bad_input` naming the parameters. */
export function queryOf<S extends z.ZodObject>(schema: S, url: string): z.output<S> {
  const given: Record<string, string> = {}
  for (const [name, value] of new URL(url).searchParams) {
    if (Object.hasOwn(given, name)) throw badQuery([{ path: shown(name), message: 'is given twice' }])
    Object.defineProperty(given, name, { value, enumerable: true })
  }
  const result = schema.safeParse(given)
  if (result.success) return result.data
  const known = Object.keys(schema.shape).join(', ') || 'none'
  throw badQuery(
    result.error.issues.flatMap((issue) =>
      issue.code === 'unrecognized_keys'
        ? issue.keys.map((key) => ({
            path: shown(key),
            message: `is not a parameter here (known: ${known})`,
          }))
        : [{ path: issue.path.join('.'), message: issue.message }],
    ),
  )
}

function badQuery(issues: { path: string; message: string }[]): RekindleError {
  const said = issues.slice(0, 10).map(({ path, message }) => `${path}: ${message}`)
  return new RekindleError('bad_input', `bad query: ${said.join('; ')}`, { issues })
}
