// BullMQ beside rekindle: one queue and one worker in this process, a processor that does nothing. A caller's
// operation is over when the worker has moved its job to completed, which Redis has then synced. Completed
// jobs are removed, so that its data does not grow.

import { Queue, Worker } from 'bullmq'
import type { Opened } from './load.ts'
import { cpuOf } from './servers.ts'

export async function openBullmq(server: { pid: number; port: number }, working: number): Promise<Opened> {
  const connection = { host: '127.0.0.1', port: server.port, maxRetriesPerRequest: null }
  const name = `bench-${process.pid}-${performance.now()}`
  const queue = new Queue(name, { connection })
  const worker = new Worker(name, async () => undefined, {
    connection,
    concurrency: working,
    removeOnComplete: { count: 0 },
  })
  let number = 0
  const waiting = new Map<string, () => void>()
  worker.on('completed', ({ id }) => {
    waiting.get(id!)?.()
    waiting.delete(id!)
  })
  worker.on('error', () => undefined)
  await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()])
  return {
    async do(count) {
      const jobs = Array.from({ length: count }, () => ({
        name: 'create',
        data: { name: 'bench', size: 1 },
        opts: { jobId: `v${number++}` },
      }))
      const ends = jobs.map(({ opts }) => new Promise<void>((resolve) => waiting.set(opts.jobId, resolve)))
      if (count === 1) await queue.add(jobs[0]!.name, jobs[0]!.data, jobs[0]!.opts)
      else await queue.addBulk(jobs)
      await Promise.all(ends)
    },
    serverCpu: () => cpuOf(server.pid),
    async close() {
      await worker.close()
      await queue.close()
    },
  }
}
