// A real `serve` in a folder of its own, and the client commands asked of it.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ResourceRow } from '../../runtime/index.ts'
import { type Ended, ends, type Running, run } from '../kit/built.ts'

export const QUICK = { heartbeat_ms: 200, fence_after_ms: 500, down_after_ms: 1_000, sweep_ms: 100 }

export interface Served {
  readonly serve: Running
  readonly url: string
  /** A client command against it. */
  ask(...args: string[]): Promise<Ended>
  /** The JSON value that it prints with --json, once it has ended well. */
  // biome-ignore lint/suspicious/noExplicitAny: what it is, the test says.
  json(...args: string[]): Promise<any>
  /** Asks for a volume at the door until it is so: quicker than a command. */
  untilVolume(id: string, isSo: (row: ResourceRow) => boolean): Promise<ResourceRow>
}

export function tempFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'rekindle-test-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

export async function served(data: string, ...args: string[]): Promise<Served> {
  const settings = ['--settings', JSON.stringify(QUICK)]
  const serve = await run(['serve', '--data', data, '--port', '0', ...settings, ...args])
  const [, url] = await serve.says(/serves at (http:\S+)[\s\S]*Ctrl-C/)
  const ask = (...given: string[]) => ends([...given, '--url', url!])
  return {
    serve,
    url: url!,
    ask,
    async json(...given) {
      const { code, stdout, stderr } = await ask(...given, '--json')
      if (code !== 0) throw new Error(`${given.join(' ')} ended with ${code}: ${stdout}${stderr}`)
      return JSON.parse(stdout)
    },
    async untilVolume(id, isSo) {
      for (;;) {
        const row = (await (await fetch(`${url}/resources/volume/${id}`)).json()) as ResourceRow
        if (isSo(row)) return row
        // Asked without a pause, the door has no time for the work.
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    },
  }
}

/** Ends it as a crash does, or asks it to end. */
export async function end({ serve }: Served, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<Ended> {
  serve.process.kill(signal)
  return serve.ended
}
