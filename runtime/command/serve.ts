// serve: a runtime on a folder with its door, until a signal. The first signal drains, the second ends at
// once; both lose nothing that was accepted.

import { existsSync } from 'node:fs'
import { delimiter, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { jsonStore } from '../../store/index.ts'
import { createDoor, isLoopback, type Listening, listen } from '../http/index.ts'
import {
  createRuntime,
  DefinitionError,
  type Environment,
  RekindleError,
  type ResourceRow,
  type Runtime,
  realEnvironment,
  StoreError,
} from '../index.ts'
import { createPage } from '../page/index.ts'
import { EXIT, Exit, usage } from './exit.ts'
import { DEFAULT_URL } from './options.ts'
import { print } from './output.ts'
import { ProgressLine } from './progress_line.ts'
import { movingFolders, withRenamedFolders } from './renamed_folders.ts'
import { logOf } from './serve_log.ts'
import { planFrom, type ServeFlags, type ServePlan } from './serve_plan.ts'

export async function serve(flags: ServeFlags): Promise<void> {
  const environment = realEnvironment()
  const plan = await planFrom(flags, environment)
  const log = await logOf(plan.log, environment)
  const say = (message: string) => log({ level: 'info', message, fields: {} })

  // The door is there first: a port that is taken is told before anything starts.
  const starting = async () =>
    Response.json({ error: { code: 'stopped', message: 'it is starting; try again' } }, { status: 503 })
  let answer: (request: Request) => Promise<Response> = starting
  const listening = await listen((request) => answer(request), plan).catch((error) => {
    throw worded(error, plan)
  })
  const opened = tellOpening(plan, environment)
  let runtime: Runtime
  try {
    runtime = await createRuntime({
      store: withRenamedFolders(jsonStore(join(plan.data, 'store')), plan.nodes, log),
      resources: plan.types,
      nodes: plan.nodes.map(({ config }) => config),
      settings: plan.settings,
      placement: plan.placement,
      renamed: movingFolders(plan.nodes),
      environment,
      log,
    })
  } catch (error) {
    await listening.close()
    throw worded(error, plan)
  } finally {
    opened()
  }
  const { token } = plan
  const page = createPage(runtime, { environment })
  const door = createDoor(runtime, {
    ...{ loopback: isLoopback(plan.host), names: plan.names, environment, log, page },
    ...(token !== null && { token }),
  })
  answer = (request) => door.fetch(request)
  if (plan.log.format === 'text') banner(plan, listening)
  else
    log({
      level: 'info',
      message: `serves at ${listening.url}`,
      fields: { url: listening.url, data: plan.data },
    })
  await signalled(runtime, environment, say)
  door.close()
  await page.close()
  await listening.close()
  // Whatever a driver still holds open, everything is written.
  process.exit(EXIT.done)
}

/** From when on a start is worth a word, and how often it is said again on a terminal. */
const SLOW_MS = 1_000

/** A large folder takes seconds to read, and nodes that were cut off some more to put right what they left. */
function tellOpening({ data, log: { format } }: ServePlan, environment: Environment): () => void {
  if (format === 'json') return () => {}
  const line = new ProgressLine('starting')
  const began = environment.monotonic()
  let timer = environment.timer(SLOW_MS, function again() {
    const seconds = Math.round((environment.monotonic() - began) / 1_000)
    line.say(`reading ${data} and starting the nodes`)
    line.flicker(`reading ${data} and starting the nodes, ${seconds} s`)
    timer = environment.timer(SLOW_MS, again)
  })
  return () => {
    timer.clear()
    line.end()
  }
}

/** What keeps a start from working, in words, with what to do about it. */
function worded(error: unknown, { host, port, data }: ServePlan): unknown {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'EADDRINUSE')
    return new Exit(
      EXIT.refused,
      `port ${port} of ${host} is taken, perhaps by another 'rekindle serve'; end that one or say --port`,
    )
  if (code === 'EACCES') return new Exit(EXIT.refused, `port ${port} may not be opened here: ${message}`)
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
    return usage(`--host ${host} is no address of this machine`)
  if (error instanceof StoreError)
    return new Exit(error.code === 'store_locked' ? EXIT.refused : EXIT.failed, `${data}: ${message}`)
  if (error instanceof RekindleError)
    return new Exit(
      error.code === 'bad_settings' || error.code === 'node_running' ? EXIT.usage : EXIT.failed,
      message,
    )
  if (error instanceof DefinitionError) return new Exit(EXIT.failed, message)
  return error
}

function banner({ file, data, nodes, token }: ServePlan, { url }: Listening): void {
  const call = howToCall()
  const to = url === DEFAULT_URL ? '' : ` --url ${url}`
  print(`rekindle serves at ${url}`)
  if (file !== null) print(`  config  ${resolve(file)}`)
  print(`  data    ${resolve(data)}`)
  for (const topic of new Set(nodes.map((node) => node.topic))) {
    const hosts = nodes.filter((node) => node.topic === topic).map(({ config }) => config.host)
    print(`  ${hosts.length === 1 ? 'node ' : 'nodes'}   ${hosts.join(', ')} of ${topic}`)
  }
  if (token !== null) print('  Clients need the token: --token-file FILE, or REKINDLE_TOKEN.')
  print('Try, in another terminal:')
  print(`  ${call} create volume --set name=data --set size=1 --wait${to}`)
  print(`  ${call} list volume${to}`)
  print(`  ${call} nodes${to}`)
  print('Ctrl-C ends it; what was accepted goes on at the next start.')
}

/** How a person in this folder calls this very program. */
function howToCall(): string {
  const script = fileURLToPath(
    new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url),
  )
  for (let folder = resolve('.'); ; folder = dirname(folder)) {
    if (
      script.startsWith(join(folder, 'node_modules', '')) &&
      existsSync(join(folder, 'node_modules', '.bin', 'rekindle'))
    )
      return 'npx rekindle'
    if (dirname(folder) === folder) break
  }
  const onPath = (process.env.PATH ?? '')
    .split(delimiter)
    .some((folder) => existsSync(join(folder, 'rekindle')))
  if (onPath && script.includes(`${join('node_modules', 'rekindle')}`)) return 'rekindle'
  const path = relative('.', script)
  return `node ${/^[\w./@-]+$/.test(path) ? path : JSON.stringify(path)}`
}

/** Ctrl-C under npm comes twice: from the terminal, and passed on by npm. */
const ONE_SIGNAL_MS = 500

/** Resolves when a signal has come and the runtime has drained. */
async function signalled(
  runtime: Runtime,
  environment: Environment,
  log: (message: string) => void,
): Promise<void> {
  await new Promise<void>((resolve) => {
    let first: number | null = null
    const onSignal = () => {
      first ??= environment.monotonic()
      if (environment.monotonic() - first > ONE_SIGNAL_MS) {
        log('ends at once; what was under way is put right at the next start')
        process.exit(EXIT.interrupted)
      }
      resolve()
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
  })
  const left = new Set(workUnderWay(runtime))
  log(
    left.size === 0
      ? 'stopping; nothing is under way'
      : `stopping; waiting for ${left.size} under way (once more to end at once): ${[...left].join(', ')}`,
  )
  const unwatch = runtime.watch((event) => {
    if (event.type !== 'change' || event.row === null) return
    const { kind, id, incarnation, status } = event.row as unknown as ResourceRow
    if (incarnation === null && left.delete(`${kind} ${id}`))
      log(
        `${kind} ${id} is ${status}; ${left.size === 0 ? 'nothing is left' : `waiting for ${[...left].join(', ')}`}`,
      )
  })
  await runtime.stop()
  unwatch()
  log('stopped; what is queued goes on at the next start')
}

function workUnderWay(runtime: Runtime): string[] {
  try {
    return runtime
      .nodes()
      .flatMap(({ here }) => here?.working_on.map(({ kind, id }) => `${kind} ${id}`) ?? [])
  } catch {
    // The store is lost: every node has fenced itself.
    return []
  }
}
