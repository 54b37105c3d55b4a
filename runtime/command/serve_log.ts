// Where the entries of `serve` go: to stderr, as lines for people or as JSON, one object a line. Nothing of
// theirs is lost at the end of the process: each is written when it is told.

import type { Environment, Log } from '../index.ts'
import { LOG_LEVELS } from '../log.ts'
import { dayAndTime, plain, tell } from './output.ts'
import type { ServePlan } from './serve_plan.ts'

export async function logOf({ format, level }: ServePlan['log'], environment: Environment): Promise<Log> {
  if (format === 'json') return jsonLog(level)
  const least = LOG_LEVELS.indexOf(level)
  return (entry) => {
    const at = LOG_LEVELS.indexOf(entry.level)
    if (at < least) return
    const mark = entry.level === 'info' || entry.level === 'debug' ? '' : `${entry.level}: `
    tell(`${dayAndTime(environment.now())}  ${mark}${plain(entry.message)}`)
  }
}

/** Loaded only where it is asked for. */
async function jsonLog(level: string): Promise<Log> {
  const { pino } = await import('pino')
  const to = pino(
    {
      level,
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      base: { pid: process.pid },
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ dest: process.stderr.fd, sync: true }),
  )
  return (entry) => to[entry.level](entry.fields, entry.message)
}
