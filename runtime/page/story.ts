// The crash story: a small world of its own, in memory, in which a node is killed with operations in its hands,
// told in captions while the page watches it as it watches the real one. Nothing of the user's is touched.

import { noopDriver } from '../drivers/noop.ts'
import { slowed } from '../drivers/slowed.ts'
import {
  type Answer,
  createRuntime,
  type Driver,
  type Environment,
  memoryStore,
  type Runtime,
  snapshot,
  volume,
} from '../index.ts'
import type { Caption } from './feed.ts'

const SETTINGS = {
  ...{ heartbeat_ms: 300, fence_after_ms: 800, down_after_ms: 1_600, sweep_ms: 150 },
  ...{ progress_ms: 200, abort_grace_ms: 300 },
} as const
const HOSTS = ['h1', 'h2', 'h3'] as const
const WORK_MS = 3_000
const READ_MS = 2_500
/** More patience than any step needs. */
const MOST_WAIT_MS = 30_000

export interface Story {
  readonly runtime: Runtime
  readonly caption: () => Caption | null
  /** Ends the story and its world. */
  close(): Promise<void>
}

/** Its nodes are up when it resolves; the story goes on by itself. */
export async function beginStory(environment: Environment): Promise<Story> {
  // With a fence, so that what a killed node left is put right by a claimed step.
  const driver: Driver = {
    ...slowed(noopDriver(), WORK_MS, environment),
    fence: async () => {},
    undo: async () => {},
  }
  const runtime = await createRuntime({
    store: memoryStore(),
    resources: [volume, snapshot],
    nodes: HOSTS.map((host) => ({ cluster: 'story', backend: 'demo', host, driver })),
    settings: { ...SETTINGS, concurrency: 2 },
    environment,
  })
  let caption: Caption | null = null
  let isOver = false
  const tell = (text: string, isLast = false) => {
    caption = { number: (caption?.number ?? 0) + 1, text, isLast }
  }
  const pause = (ms: number) => new Promise<void>((resolve) => environment.timer(ms, resolve))
  const until = async (isSo: () => boolean | Promise<boolean>) => {
    for (let waited = 0; waited < MOST_WAIT_MS && !isOver; waited += 50) {
      if (await isSo()) return
      await pause(50)
    }
  }
  void run().catch((error: unknown) => {
    if (!isOver)
      tell(`The story could not go on: ${error instanceof Error ? error.message : String(error)}`, true)
  })

  async function run(): Promise<void> {
    tell('Three nodes form one cluster, story@demo. Any of them may take any of its work.')
    await pause(READ_MS)
    tell(
      'Three volumes are created. Each accept is durable before it is answered; a node claims each by compare-and-swap.',
    )
    const kept = await idsOf(
      ['orders', 'photos', 'letters'].map((name) => runtime.volume.create({ name, size: 1 })),
    )
    await until(async () => (await runtime.count('volume', { status: 'available' })) === kept.length)
    tell(
      'All three are available. Now two are deleted and three new ones created: five operations run at once.',
    )
    await Promise.all(kept.slice(0, 2).map((id) => runtime.volume(id).delete()))
    await idsOf(['music', 'mail', 'backups'].map((name) => runtime.volume.create({ name, size: 1 })))
    const held = () => runtime.nodes().filter(({ here }) => (here?.working_on.length ?? 0) > 0)
    await until(() => held().length === HOSTS.length)
    await pause(WORK_MS / 4)
    const victim = held().sort((a, b) => b.here!.working_on.length - a.here!.working_on.length)[0]
    if (victim === undefined) return
    const { host, incarnation } = victim
    tell(
      `The plug of ${host} is pulled, with ${victim.here!.working_on.length} operations in its hands. Their rows still say ${host}.`,
    )
    runtime.node(host).kill()
    await pause(READ_MS)
    const now = () => runtime.nodes().find((node) => node.host === host)!
    await until(() => now().state === 'down' || now().incarnation > incarnation)
    tell(
      `Its heartbeat stood still, so ${host} was declared down. A scheduler puts right what that life left: a delete is queued again for any node, a half-made volume ends in error.`,
    )
    await pause(READ_MS)
    await until(async () => (await runtime.count('volume', { worker: `${host}@demo` })) === 0)
    await pause(READ_MS)
    tell(
      `The others finish the work. ${host} starts a new life, with a new incarnation; its old claims can finish nothing.`,
    )
    runtime.node(host).start()
    await until(() => now().state === 'up')
    await until(async () => await isAtRest(runtime))
    const inError = await runtime.count('volume', { status: 'error' })
    tell(
      `Everything is at rest and nothing is stuck. ${inError} of the new volumes ended in error, as their table says; they can be deleted like any other.`,
      true,
    )
  }

  return {
    runtime,
    caption: () => caption,
    async close() {
      isOver = true
      await runtime.stop({ within_ms: 0 })
    },
  }
}

async function idsOf(answers: readonly Promise<Answer<unknown>>[]): Promise<string[]> {
  return (await Promise.all(answers)).flatMap((answer) => (answer.ok ? [answer.id] : []))
}

async function isAtRest(runtime: Runtime): Promise<boolean> {
  for (const { kind, statuses } of runtime.kinds)
    for (const status of statuses.transitional) if ((await runtime.count(kind, { status })) > 0) return false
  return true
}
