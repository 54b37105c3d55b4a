// Nodes, clusters and quotas: what there is, and what an administrator may do to it. A refusal of the runtime
// becomes 409 with what was expected and found; what is so already is answered as done.

import { z } from 'zod'
import {
  type AdminAnswer,
  type CleanupFilter,
  type NodeView,
  type QuotaLimits,
  RekindleError,
  type Runtime,
} from '../index.ts'
import { DoorError, json, refused } from './answer.ts'
import { bad } from './body.ts'
import { type DoorPorts, READS, type Route, route, WRITES } from './route.ts'
import { cleanupReport, cluster, node, quota, renaming, stuck } from './shapes.ts'

const LIFE = {
  kill: 'end a node of this process at once, as a crash would',
  drain: 'let a node of this process finish what it has and take nothing new',
  start: 'start a node of this process that was killed or drained',
} as const

/** Why, for people who look later. */
const reasonBody = z.strictObject({ reason: z.string().max(255).optional() })

const name = z.string().min(1).max(256).optional()
const cleanupBody = z.strictObject({
  cluster: name,
  backend: name,
  host: name,
  kind: name,
  id: name,
  until: z.number().optional(),
})

/** Of a project. */
const NO_LIMIT = 'is no limit: a number from 0, or null for none'
const limit = z.number(NO_LIMIT).min(0, NO_LIMIT).nullable()

export function nodeRoutes({ runtime, calls }: DoorPorts): Route[] {
  /** An administrative action: a limited call whose refusal is a 409. */
  const act = async <Done extends object>(
    run: () => Promise<AdminAnswer<Done>>,
    status = 200,
  ): Promise<Response> => {
    const answer = await calls.during(run)
    if (!answer.ok) return refused(answer)
    const { ok: _, ...done } = answer
    return json(status, done)
  }
  const reasonOf = (body: object | undefined) => (body as { reason?: string } | undefined)?.reason
  const { admin } = runtime

  const life = Object.entries(LIFE).map(([action, does]) =>
    route({
      method: 'POST',
      path: `/nodes/:node/${action}`,
      name: `node.${action}`,
      does,
      answers: {
        202: () => ({ schema: z.looseObject({ asked: z.literal(action), node: node.nullable() }) }),
      },
      errors: [...READS, 'unknown_node', action === 'start' ? 'node_running' : 'node_not_running'],
      handle: ({ params }) => tell(runtime, params.node!, action as keyof typeof LIFE),
    }),
  )

  const onNode = (
    action: string,
    does: string,
    run: (node: string, reason?: string) => Promise<AdminAnswer<{ node: NodeView }>>,
  ) =>
    route({
      method: 'POST',
      path: `/nodes/:node/${action}`,
      name: `node.${action}`,
      does,
      ...(action === 'disable' && { body: reasonBody }),
      answers: { 200: () => ({ schema: z.looseObject({ node }) }) },
      errors: [...WRITES, 'unknown_node', 'refused'],
      handle: ({ params, body }) => act(() => run(params.node!, reasonOf(body))),
    })

  const onCluster = (
    action: string,
    does: string,
    run: (topic: string, reason?: string) => Promise<AdminAnswer<{ cluster: object }>>,
  ) =>
    route({
      method: 'POST',
      path: `/clusters/:topic/${action}`,
      name: `cluster.${action}`,
      does,
      ...((action === 'disable' || action === 'freeze') && { body: reasonBody }),
      answers: { 200: () => ({ schema: z.looseObject({ cluster }) }) },
      errors: [...WRITES, 'unknown_cluster', 'refused'],
      handle: ({ params, body }) => act(() => run(params.topic!, reasonOf(body))),
    })

  return [
    route({
      method: 'GET',
      path: '/nodes',
      name: 'nodes',
      does: 'nodes and what they work on',
      answers: { 200: () => ({ schema: z.looseObject({ nodes: z.array(node) }) }) },
      errors: READS,
      handle: () => json(200, { nodes: runtime.nodes() }),
    }),
    ...life,
    onNode(
      'disable',
      'a node stays up, goes on with what it has and claims nothing new; survives restarts (body: {"reason": TEXT})',
      (name, reason) => admin.disableNode(name, reason),
    ),
    onNode('enable', 'a node claims again', (name) => admin.enableNode(name)),
    onNode(
      'remove',
      'forget a node that is down; refused while it runs or is the worker of resources',
      (name) => admin.removeNode(name),
    ),
    route({
      method: 'GET',
      path: '/clusters',
      name: 'clusters',
      does: 'clusters, their capacity and queues',
      answers: { 200: () => ({ schema: z.looseObject({ clusters: z.array(cluster) }) }) },
      errors: READS,
      handle: async () => json(200, { clusters: await runtime.clusters() }),
    }),
    onCluster('disable', 'nothing new is placed there by itself (body: {"reason": TEXT})', (topic, reason) =>
      admin.disableCluster(topic, reason),
    ),
    onCluster('enable', 'new resources are placed there again', (topic) => admin.enableCluster(topic)),
    onCluster(
      'freeze',
      'nothing new is placed there, and what would lose data is refused (body: {"reason": TEXT})',
      (topic, reason) => admin.freezeCluster(topic, reason),
    ),
    onCluster('thaw', 'everything is accepted there again', (topic) => admin.thawCluster(topic)),
    route({
      method: 'POST',
      path: '/clusters/:topic/remove',
      name: 'cluster.remove',
      does: 'forget a cluster; refused while it has resources or a node that runs (body: {"recursive": true}: its nodes go first)',
      body: z.strictObject({ recursive: z.boolean().optional() }),
      answers: { 200: () => ({ schema: z.looseObject({ cluster, nodes: z.array(node) }) }) },
      errors: [...WRITES, 'unknown_cluster', 'refused'],
      handle: ({ params, body }) => act(() => admin.removeCluster(params.topic!, body ?? {})),
    }),
    route({
      method: 'POST',
      path: '/clusters/:topic/rename',
      name: 'cluster.rename',
      does: 'give a cluster another name (body: {"to": CLUSTER@BACKEND, "dry_run": true, "merge": true}); repeating it goes on',
      body: z.strictObject({
        to: z.string().min(1).max(256),
        dry_run: z.boolean().optional(),
        merge: z.boolean().optional(),
      }),
      answers: { 200: () => ({ schema: z.looseObject({ renaming }) }) },
      errors: [...WRITES, 'unknown_cluster', 'refused'],
      handle: ({ params, body }) => {
        const { to, ...options } = (body ?? {}) as { to?: string; dry_run?: boolean; merge?: boolean }
        if (to === undefined) throw bad('to', 'is missing: say the new name, CLUSTER@BACKEND')
        return act(() => admin.renameCluster(params.topic!, to, options))
      },
    }),
    route({
      method: 'POST',
      path: '/cleanup',
      name: 'cleanup',
      does: 'put right now what nodes that are down left (body: any of cluster, backend, host, kind, id, until)',
      body: cleanupBody,
      answers: { 202: () => ({ schema: cleanupReport }) },
      errors: [...WRITES, 'unknown_kind', 'unknown_id', 'unknown_cluster', 'unknown_node', 'refused'],
      handle: ({ body }) => act(() => admin.cleanup((body ?? {}) as CleanupFilter), 202),
    }),
    route({
      method: 'GET',
      path: '/stuck',
      name: 'stuck',
      does: 'resources that do not get on by themselves, and why',
      answers: { 200: () => ({ schema: z.looseObject({ stuck: z.array(stuck) }) }) },
      errors: READS,
      handle: async () => json(200, { stuck: await runtime.stuck() }),
    }),
    route({
      method: 'GET',
      path: '/quotas',
      name: 'quotas',
      does: 'what each project takes, and its limits',
      answers: { 200: () => ({ schema: z.looseObject({ quotas: z.array(quota) }) }) },
      errors: READS,
      handle: async () => json(200, { quotas: await runtime.quotas() }),
    }),
    route({
      method: 'POST',
      path: '/quotas/:project',
      name: 'quota.set',
      does: 'set limits; the body names them, for example {"volumes": 10, "gigabytes": null}',
      body: z.record(z.string(), limit),
      answers: { 200: () => ({ schema: quota }) },
      errors: WRITES,
      handle: async ({ params, body }) =>
        json(200, await calls.during(() => runtime.setQuota(params.project!, (body ?? {}) as QuotaLimits))),
    }),
  ]
}

/** Asks the life of a node of this process; it is done when the node's chart has got to it. */
function tell(runtime: Runtime, name: string, action: keyof typeof LIFE): Response {
  const named = ({ host, address }: NodeView) => host === name || address === name
  try {
    runtime.node(name)[action]()
  } catch (error) {
    const isUnknown = error instanceof RekindleError && error.code === 'unknown_node'
    // A node that is known and has ended is no mistake in the name.
    if (isUnknown && action !== 'start' && runtime.nodes().filter(named).length === 1)
      throw new DoorError(
        'node_not_running',
        `${error.message}: it can't be ${action === 'kill' ? 'killed' : 'drained'}`,
      )
    throw error
  }
  return json(202, { asked: action, node: runtime.nodes().find(named) ?? null })
}
