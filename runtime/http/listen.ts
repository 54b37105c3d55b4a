// The socket in front of the door: bound to loopback unless told otherwise, with limits on how long a slow
// or half-open client may hold anything.

import { createServer, type Server, STATUS_CODES } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { type Environment, realEnvironment } from '../index.ts'
import { json } from './answer.ts'

export interface ListenOptions {
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default 7878; 0 takes a free one. */
  readonly port?: number
  readonly environment?: Environment
  readonly limits?: Partial<SocketLimits>
}

/** How long, and how many. Milliseconds. */
export interface SocketLimits {
  /** Until the headers of a request are there, from the connection on. */
  readonly headers_ms: number
  /** Until a request is there, its body included. */
  readonly request_ms: number
  /** Between two requests. */
  readonly keep_alive_ms: number
  /** Without any movement. Waits are shorter; event streams beat. */
  readonly idle_ms: number
  /** Until an answer has left, from the request on; an event stream is no answer that ends. */
  readonly answer_ms: number
  /** How often requests under way are looked at. */
  readonly look_ms: number
  readonly connections: number
}

const LIMITS: SocketLimits = {
  headers_ms: 10_000,
  request_ms: 30_000,
  keep_alive_ms: 5_000,
  idle_ms: 120_000,
  answer_ms: 150_000,
  look_ms: 2_000,
  connections: 1_024,
}

export interface Listening {
  readonly url: string
  readonly port: number
  /** Takes no more connections, lets answers under way go out for a moment, then ends all. */
  close(): Promise<void>
}

/** What is written to. */
interface Outgoing {
  once(event: 'close', run: () => void): unknown
  destroy(): unknown
}

export const DEFAULT_PORT = 7878
/** How long answers under way may take to leave at a close. */
const GRACE_MS = 300

/** Rejects with the system's error where the port is taken or the address is not this machine's. */
export async function listen(
  fetch: (request: Request) => Promise<Response>,
  options: ListenOptions = {},
): Promise<Listening> {
  const { host = '127.0.0.1', port = DEFAULT_PORT, environment = realEnvironment() } = options
  const limits = { ...LIMITS, ...options.limits }
  const bounded = async (request: Request, { outgoing }: { outgoing: Outgoing }) => {
    // A client that takes its answer a byte at a time is let go of; one that follows events may stay.
    const timer = environment.timer(limits.answer_ms, () => outgoing.destroy())
    outgoing.once('close', () => timer.clear())
    const answer = await fetch(request)
    if (answer.headers.get('content-type')?.startsWith('text/event-stream')) timer.clear()
    return answer
  }
  const server = createServer(
    {
      headersTimeout: limits.headers_ms,
      requestTimeout: limits.request_ms,
      keepAliveTimeout: limits.keep_alive_ms,
      connectionsCheckingInterval: limits.look_ms,
      maxHeaderSize: 16 * 1024,
    },
    getRequestListener(bounded, {
      overrideGlobalObjects: false,
      // What never became a request: a Host that is none, a URL that can't be read.
      errorHandler: () =>
        json(400, {
          error: { code: 'bad_request', message: 'the Host or URL of the request makes no sense' },
        }),
    }),
  )
  // A socket on which nothing moved for so long is nobody's.
  server.timeout = limits.idle_ms
  server.maxConnections = limits.connections
  server.on('clientError', refuseBytes)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => resolve())
  })
  server.removeAllListeners('error')
  server.on('error', () => {})
  const bound = (server.address() as AddressInfo).port
  const name = host.includes(':') ? `[${host}]` : host
  return { url: `http://${name}:${bound}`, port: bound, close: () => close(server, environment) }
}

/** Bytes that are not HTTP, or come too slowly: an answer in the form of all the others. */
function refuseBytes(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
  const [status, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [431, 'the headers are larger than 16 KiB']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, 'the request took too long to arrive']
        : [400, 'this is not HTTP']
  const body = `${JSON.stringify({ error: { code: 'bad_request', message } })}\n`
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}

function close(server: Server, environment: Environment): Promise<void> {
  return new Promise((resolve) => {
    const limit = environment.timer(GRACE_MS, () => server.closeAllConnections())
    server.close(() => {
      limit.clear()
      resolve()
    })
    server.closeIdleConnections()
  })
}
