// The world of the night: a real `rekindle serve` on a folder of its own, the commands that an operator types,
// and what they print. It decides nothing; the story does.

import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { NodeView, Stuck } from '../../runtime/index.ts'

const main = join(import.meta.dirname, '../../runtime/command/main.js')

export interface Reply {
  readonly status: number
  readonly body: Record<string, unknown>
}

export interface Said {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** What went on too long, or was not there; told to the person who watches. */
export class NightStopped extends Error {}

export class World {
  readonly folder: string
  readonly data: string
  url = ''
  /** Deletes may be refused just now. */
  isFrozen = false
  /** What serve said on stderr, all its lives together. */
  log = ''
  #serve: ChildProcess | null = null

  constructor(folder: string, data: string) {
    this.folder = folder
    this.data = data
  }

  // ---- the server ----

  get configFile(): string {
    return join(this.folder, 'rekindle.config.json')
  }

  configure(configuration: object): void {
    writeFileSync(this.configFile, `${JSON.stringify(configuration, null, 2)}\n`)
  }

  /** Starts serve on this configuration and resolves when every node is up. */
  async start(configuration: object): Promise<void> {
    this.configure(configuration)
    const child = spawn(process.execPath, [main, 'serve', '--config', this.configFile], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#serve = child
    let printed = ''
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      printed += text
    })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.log += text
    })
    const before = this.log.length
    await this.until(
      'serve is there',
      () => {
        if (child.exitCode !== null)
          throw new NightStopped(`serve ended with ${child.exitCode}: ${this.log.slice(before)}`)
        const [, url] = /serves at (\S+)/.exec(printed) ?? []
        if (url !== undefined) this.url = url
        return /Ctrl-C ends it/.test(printed)
      },
      60_000,
    )
  }

  /** Lets it finish what it has, and resolves with how it ended. */
  async end(): Promise<number | null> {
    const child = this.#serve
    if (child === null || child.exitCode !== null) return null
    const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
    child.kill('SIGTERM')
    return ended
  }

  /** As by a power cut. */
  async killed(): Promise<void> {
    const child = this.#serve!
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }

  /** At the end of the night, however it ends. */
  kill(): void {
    this.#serve?.kill('SIGKILL')
  }

  // ---- what an operator does ----

  /** A command as it is typed, and what it printed. `limit_ms`: Ctrl-C after so long. */
  async command(args: readonly string[], limit_ms?: number): Promise<Said> {
    const child = spawn(process.execPath, [main, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, REKINDLE_URL: this.url },
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    const timer = limit_ms === undefined ? null : setTimeout(() => child.kill('SIGINT'), limit_ms)
    const code = await new Promise<number | null>((resolve) => child.once('close', (ended) => resolve(ended)))
    if (timer !== null) clearTimeout(timer)
    return { code, stdout, stderr }
  }

  /** Null where no answer came. */
  async call(method: string, path: string, body?: object): Promise<Reply | null> {
    try {
      const response = await fetch(this.url + path, {
        method,
        signal: AbortSignal.timeout(30_000),
        ...(body !== undefined && {
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        }),
      })
      return { status: response.status, body: (await response.json()) as Record<string, unknown> }
    } catch {
      return null
    }
  }

  async nodes(): Promise<readonly NodeView[]> {
    const reply = await this.call('GET', '/nodes')
    return reply?.status === 200 ? (reply.body.nodes as NodeView[]) : []
  }

  async node(host: string): Promise<NodeView | undefined> {
    return (await this.nodes()).find((node) => node.host === host)
  }

  async stuck(): Promise<readonly Stuck[]> {
    const reply = await this.call('GET', '/stuck')
    return reply?.status === 200 ? (reply.body.stuck as Stuck[]) : []
  }

  /** Samples of /metrics by name and labels, as they are written there. */
  async metrics(): Promise<Map<string, number>> {
    const text = await fetch(`${this.url}/metrics`).then(
      (answer) => (answer.ok ? answer.text() : ''),
      () => '',
    )
    const samples = text.split('\n').flatMap((line): [string, number][] => {
      const [, name, value] = /^(rekindle_\S*?(?:\{.*\})?) ([-+.\deInfNa]+)$/.exec(line) ?? []
      return name === undefined ? [] : [[name, Number(value)]]
    })
    return new Map(samples)
  }

  async until(what: string, isSo: () => boolean | Promise<boolean>, within_ms = 30_000): Promise<void> {
    const began = performance.now()
    while (!(await isSo())) {
      if (performance.now() - began > within_ms)
        throw new NightStopped(`${what}: this did not happen within ${within_ms / 1_000} seconds`)
      await pause(50)
    }
  }
}
