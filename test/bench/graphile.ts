// graphile-worker beside rekindle: one runner in this process, a task that does nothing. A caller's operation is
// over when the statement that deletes its job has committed; graphile-worker's own events come before that,
// so the statements are watched at the connection. Batched is its opt-in: jobs are locked 500 at a time into a
// local queue, and completions are sent together. A crash then leaves up to 500 jobs locked for four hours.

import { Logger, makeWorkerUtils, run, runMigrations } from 'graphile-worker'
import pg from 'pg'
import type { Opened } from './load.ts'
import { cpuOf } from './servers.ts'

/** A connection that tells which jobs a statement completed. */
function watching(completed: (id: string) => void): typeof pg.Client {
  return class extends pg.Client {
    // biome-ignore lint/suspicious/noExplicitAny: one of eight overloads, all of which are passed on
    override query(...given: any[]): any {
      const [statement] = given as [{ name?: string; values?: [string | string[]] }]
      const result = (super.query as (...all: unknown[]) => unknown)(...given)
      if (!statement.name?.startsWith('complete_job')) return result
      return (result as Promise<unknown>).then((answer) => {
        for (const id of [statement.values![0]].flat()) completed(id)
        return answer
      })
    }
  }
}

export async function openGraphile(
  server: { pid: number; port: number },
  working: number,
  isBatched: boolean,
): Promise<Opened> {
  const connectionString = `postgres://postgres@127.0.0.1:${server.port}/postgres`
  const waiting = new Map<string, () => void>()
  /** Ended before the caller knew the number of its job. */
  const early = new Set<string>()
  const completed = (id: string) => {
    const resolve = waiting.get(id)
    if (resolve === undefined) early.add(id)
    else {
      waiting.delete(id)
      resolve()
    }
  }
  // As its documentation advises: ten connections, or two more than jobs at once.
  const max = Math.max(10, working + 2)
  const pool = new pg.Pool({ connectionString, max, Client: watching(completed) })
  const callers = new pg.Pool({ connectionString, max: Math.min(working, 10) })
  // An error of a connection reaches the statements that it hits; elsewhere it is nobody's.
  for (const each of [pool, callers])
    each.on('error', () => undefined).on('connect', (client) => client.on('error', () => undefined))
  const logger = new Logger(() => () => undefined)
  await runMigrations({ pgPool: callers, logger })
  const utils = await makeWorkerUtils({ pgPool: callers, logger })
  const runner = await run({
    pgPool: pool,
    logger,
    noHandleSignals: true,
    taskList: { create: async () => undefined },
    preset: {
      worker: {
        concurrentJobs: working,
        maxPoolSize: max,
        ...(isBatched ? { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } : {}),
      },
    },
  })
  const ended = (id: string) =>
    early.delete(id) ? Promise.resolve() : new Promise<void>((resolve) => waiting.set(id, resolve))
  const payload = { name: 'bench', size: 1 }
  return {
    async do(count) {
      if (count === 1) return ended((await utils.addJob('create', payload)).id)
      const jobs = await utils.addJobs(
        Array.from({ length: count }, () => ({ identifier: 'create', payload })),
      )
      await Promise.all(jobs.map(({ id }) => ended(id)))
    },
    serverCpu: () => cpuOf(server.pid),
    async close() {
      await runner.stop()
      await utils.release()
      await Promise.all([pool.end(), callers.end()])
    },
  }
}
