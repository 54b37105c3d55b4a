// A door over a runtime in memory, whose extends wait until they are let go.

import { noopDriver } from '../../runtime/drivers/noop.ts'
import { createDoor, type DoorOptions } from '../../runtime/http/index.ts'
import { backup, createRuntime, memoryStore, type Settings, snapshot, volume } from '../../runtime/index.ts'
import type { StoreSource } from '../../store/index.ts'

export interface RigOptions extends DoorOptions {
  readonly settings?: Partial<Settings>
  readonly store?: StoreSource
  readonly hosts?: readonly string[]
}

const HOSTS = ['h1', 'h2', 'h3']

export async function doorRig(given: RigOptions = {}) {
  const { store = memoryStore(), settings = {}, hosts = HOSTS, ...options } = given
  const gates: { go: () => void; fail: (error: Error) => void }[] = []
  const driver = noopDriver({
    volume: {
      extend: ({ input, signal }) =>
        new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason))
          gates.push({ go: () => resolve({ size: input.size as number }), fail: reject })
        }),
    },
  })
  const runtime = await createRuntime({
    store,
    settings,
    resources: [volume, snapshot, backup],
    nodes: hosts.map((host) => ({ cluster: 'demo', backend: 'noop', host, driver })),
  })
  /** What is worth a look; each request alone is not. */
  const logged: string[] = []
  const door = createDoor(runtime, {
    log: ({ level, message }) => level !== 'debug' && logged.push(message),
    ...options,
  })

  const ask = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const isRaw = typeof body === 'string' || body instanceof Uint8Array || body instanceof ReadableStream
    const answer = await door.fetch(
      new Request(`http://127.0.0.1:7878${path}`, {
        method,
        headers: {
          ...(body === undefined || isRaw ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: isRaw ? (body as string) : JSON.stringify(body) }),
        ...(body instanceof ReadableStream && { duplex: 'half' }),
      } as RequestInit),
    )
    const text = await answer.text()
    const isJson = answer.headers.get('content-type')?.startsWith('application/json')
    return { status: answer.status, headers: answer.headers, body: isJson ? JSON.parse(text) : null, text }
  }
  const available = async (size = 1) => {
    const { body } = await ask('POST', '/resources/volume?wait=10', { name: 'data', size })
    return body.row as { id: string; version: number; status: string }
  }
  return {
    runtime,
    door,
    logged,
    ask,
    available,
    /** The keys that were changed after an offset, save those of nodes, which beat as they like. */
    changedSince(offset: number): string[] {
      const keys: string[] = []
      runtime.watch((event) => event.type === 'change' && keys.push(event.key), { from: offset })()
      return keys.filter((key) => !/^(?:service|beat)\//.test(key))
    },
    /** Resolves when so many extends wait for their end. */
    async extending(count = 1) {
      await until(() => gates.length >= count)
      return gates
    },
    async stop() {
      for (const { go } of gates) go()
      door.close()
      await runtime.stop({ within_ms: 1_000 })
    },
  }
}

export type Rig = Awaited<ReturnType<typeof doorRig>>

/** Looks again at every turn of the loop. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setImmediate(resolve))
}

/** Reads server-sent events from an answer: `next` gives one message, with its fields by name. */
export function readEvents(answer: Response) {
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  return {
    async next(): Promise<Record<string, string> | null> {
      for (;;) {
        const end = text.indexOf('\n\n')
        if (end >= 0) {
          const message = text.slice(0, end)
          text = text.slice(end + 2)
          return Object.fromEntries(
            message.split('\n').map((line) => {
              const at = line.indexOf(':')
              return [line.slice(0, at), line.slice(at + 1).trim()]
            }),
          )
        }
        const { done, value } = await reader.read()
        if (done) return null
        text += value
      }
    },
    cancel: () => reader.cancel(),
  }
}
