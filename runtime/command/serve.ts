// serve: a runtime on a folder with its door, until a signal. The first signal drains, the second ends at
// once; both lose nothing that was accepted.

import { existsSync } from 'node:fs'
import { delimiter, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { jsonStore } from '../../store/index.ts'
import { fileDriver } from '../drivers/file.ts'
import { noopDriver } from '../drivers/noop.ts'
import { qemuDriver } from '../drivers/qemu.ts'
import { slowed } from '../drivers/slowed.ts'
import { createDoor, isLoopback, type Listening, listen } from '../http/index.ts'
import {
  backup,
  createRuntime,
  DefinitionError,
  type Driver,
  type Environment,
  type LogEntry,
  type NodeConfig,
  RekindleError,
  type ResourceRow,
  type Runtime,
  realEnvironment,
  type Settings,
  StoreError,
  snapshot,
  volume,
} from '../index.ts'
import { EXIT, Exit, usage } from './exit.ts'
import { DEFAULT_URL } from './options.ts'
import { dayAndTime, plain, print, tell } from './output.ts'

export interface ServeOptions {
  readonly data: string
  readonly port: number
  readonly host: string
  readonly nodes?: readonly string[]
  /** Of the nodes that run where none are given. */
  readonly driver?: string
  readonly settings?: string
  readonly workMs?: number
}

const DEFAULT_DRIVER = 'file'

export async function serve(options: ServeOptions): Promise<void> {
  const environment = realEnvironment()
  const log = ({ level, message }: LogEntry) => {
    if (level !== 'debug') tell(`${dayAndTime(environment.now())}  ${plain(message)}`)
  }
  const say = (message: string) => log({ level: 'info', message, fields: {} })
  const nodes = nodesFrom(options, environment)
  const settings = settingsGiven(options.settings)

  // The door is there first: a port that is taken is told before anything starts.
  const starting = async () =>
    Response.json({ error: { code: 'stopped', message: 'it is starting; try again' } }, { status: 503 })
  let answer: (request: Request) => Promise<Response> = starting
  const listening = await listen((request) => answer(request), options).catch((error) => {
    throw worded(error, options)
  })
  let runtime: Runtime
  try {
    runtime = await createRuntime({
      store: jsonStore(join(options.data, 'store')),
      resources: [volume, snapshot, backup],
      nodes: nodes.map(({ config }) => config),
      settings,
      environment,
      log,
    })
  } catch (error) {
    await listening.close()
    throw worded(error, options)
  }
  const door = createDoor(runtime, { loopback: isLoopback(options.host), environment, log })
  answer = (request) => door.fetch(request)
  banner(options, listening, nodes)
  await signalled(runtime, environment, say)
  door.close()
  await listening.close()
  // Whatever a driver still holds open, everything is written.
  process.exit(EXIT.done)
}

interface NamedNode {
  readonly topic: string
  readonly config: NodeConfig
}

/** `cluster@backend:host,host`; a place and a driver a cluster@backend, shared by its nodes. */
function nodesFrom(
  { nodes, driver: named = DEFAULT_DRIVER, data, workMs }: ServeOptions,
  environment: Environment,
): NamedNode[] {
  const backends: Record<string, (topic: string) => Driver> = {
    file: (topic) => fileDriver(join(data, 'images', topic)),
    qemu: (topic) => qemuDriver(join(data, 'qcow2', topic)),
    noop: () => noopDriver(),
  }
  if (!Object.hasOwn(backends, named))
    throw usage(`--driver ${named}: there is no such driver, only ${Object.keys(backends).join(', ')}`)
  const drivers = new Map<string, Driver>()
  return (nodes ?? [`demo@${named}:h1,h2,h3`]).flatMap((given) => {
    const [, cluster, backend, hosts] = /^([^@:,]+)@([^@:,]+):([^@:]+)$/.exec(given) ?? []
    if (!cluster || !backend || !hosts)
      throw usage(`--nodes ${given}: say cluster@backend:host,host, for example demo@file:h1,h2,h3`)
    if (!Object.hasOwn(backends, backend))
      throw usage(
        `--nodes ${given}: there is no backend '${backend}', only ${Object.keys(backends).join(', ')}`,
      )
    const topic = `${cluster}@${backend}`
    const made = drivers.get(topic) ?? backends[backend]!(topic)
    drivers.set(topic, made)
    const driver = workMs ? slowed(made, workMs, environment) : made
    return hosts.split(',').map((host) => ({ topic, config: { cluster, backend, host, driver } }))
  })
}

function settingsGiven(text: string | undefined): Partial<Settings> {
  if (text === undefined) return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Told below.
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw usage(`--settings ${text}: say a JSON object, for example '{"heartbeat_ms":500}'`)
  return value as Partial<Settings>
}

/** What keeps a start from working, in words, with what to do about it. */
function worded(error: unknown, { host, port, data }: ServeOptions): unknown {
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

function banner({ data, host }: ServeOptions, { url }: Listening, nodes: readonly NamedNode[]): void {
  const call = howToCall()
  const to = url === DEFAULT_URL ? '' : ` --url ${url}`
  print(`rekindle serves at ${url}`)
  print(`  data    ${resolve(data)}`)
  for (const topic of new Set(nodes.map((node) => node.topic))) {
    const hosts = nodes.filter((node) => node.topic === topic).map(({ config }) => config.host)
    print(`  ${hosts.length === 1 ? 'node ' : 'nodes'}   ${hosts.join(', ')} of ${topic}`)
  }
  if (!isLoopback(host)) print(`  Anyone who reaches ${host} may do anything here: there are no passwords.`)
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
