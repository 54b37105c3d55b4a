// A real browser on the page of a real door. Where Chromium is not installed the tests say so and are skipped.

import { existsSync } from 'node:fs'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { slowed } from '../../runtime/drivers/slowed.ts'
import { createDoor, type Listening, listen } from '../../runtime/http/index.ts'
import type { Driver, Environment, RuntimeOptions } from '../../runtime/index.ts'
import {
  createRuntime,
  memoryStore,
  noopDriver,
  realEnvironment,
  snapshot,
  volume,
} from '../../runtime/index.ts'
import { createPage } from '../../runtime/page/index.ts'

/** Debian's, or what CHROMIUM names; null where there is none. */
export const chromiumPath: string | null =
  [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
    (path) => path !== undefined && existsSync(path),
  ) ?? null

export const skipped = chromiumPath === null ? ' (skipped: no Chromium; apt-get install chromium)' : ''

export async function launched(): Promise<Browser> {
  return chromium.launch({ executablePath: chromiumPath!, args: ['--no-sandbox'] })
}

export const hosts = ['h1', 'h2', 'h3'] as const

export interface Served {
  readonly runtime: Awaited<ReturnType<typeof started>>
  readonly environment: Environment
  readonly url: string
  /** Ends the door alone: the page loses its connection. */
  unplug(): Promise<void>
  /** The door again, at the same port. */
  plugIn(): Promise<void>
  close(): Promise<void>
}

function started(store: RuntimeOptions<never>['store'], driver: Driver, environment: Environment) {
  return createRuntime({
    store,
    resources: [volume, snapshot],
    nodes: hosts.map((host) => ({ cluster: 'demo', backend: 'file', host, driver })),
    settings: {
      ...{ heartbeat_ms: 200, fence_after_ms: 500, down_after_ms: 1_000, sweep_ms: 100 },
      ...{ concurrency: 4, abort_grace_ms: 100 },
    },
    environment,
  })
}

/** A runtime in memory whose operations take so long, with its door and page. */
export async function served({
  work_ms = 300,
  store = memoryStore(),
}: {
  work_ms?: number
  store?: RuntimeOptions<never>['store']
} = {}): Promise<Served> {
  const environment = realEnvironment()
  const driver: Driver = {
    ...slowed(noopDriver(), work_ms, environment),
    fence: async () => {},
    capabilities: async () => ({ total_gib: 100, free_gib: 40 }),
  }
  const runtime = await started(store, driver, environment)
  const page = createPage(runtime, { environment })
  const door = createDoor(runtime, { environment, page })
  let listening: Listening = await listen((request) => door.fetch(request), { port: 0 })
  const { port, url } = listening
  return {
    ...{ runtime, environment, url },
    unplug: () => listening.close(),
    async plugIn() {
      listening = await listen((request) => door.fetch(request), { port })
    },
    async close() {
      door.close()
      await page.close()
      await listening.close()
      await runtime.stop({ within_ms: 0 })
    },
  }
}

/** A page that fails on whatever the browser complains of. */
export async function opened(
  context: BrowserContext | Browser,
  url: string,
  complaints: string[] = [],
): Promise<Page> {
  const page = await context.newPage()
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('console', (message) => {
    if (
      message.type() === 'error' &&
      !/ERR_CONNECTION|Failed to load resource|ERR_INCOMPLETE|ERR_EMPTY/.test(message.text())
    )
      complaints.push(message.text())
  })
  await page.goto(url)
  return page
}
