// nodes, clusters: who works, and what waits.

import type { Command } from 'commander'
import type { ClusterStatus, NodeView } from '../index.ts'
import { type ClientOptions, clientCommand, clientFor } from './options.ts'
import { print, printJson, tableOf } from './output.ts'

export function addNodeCommands(program: Command): void {
  clientCommand(program, 'nodes', 'list the nodes and what they work on', 'rekindle nodes').action(
    async (options: ClientOptions) => {
      const { nodes } = await clientFor(options).ask<{ nodes: NodeView[] }>('GET', ['nodes'])
      if (options.json) return printJson(nodes)
      print(
        tableOf(
          ['HOST', 'CLUSTER', 'STATE', 'LIFE', 'WORKING ON'],
          nodes.map((node) => [
            node.host,
            `${node.cluster}@${node.backend}`,
            stateOf(node),
            String(node.incarnation),
            node.here?.working_on.map(({ kind, id }) => `${kind} ${id}`).join(', ') || '-',
          ]),
        ),
      )
    },
  )

  clientCommand(
    program,
    'clusters',
    'list the clusters, their room and their queues',
    'rekindle clusters',
  ).action(async (options: ClientOptions) => {
    const { clusters } = await clientFor(options).ask<{ clusters: ClusterStatus[] }>('GET', ['clusters'])
    if (options.json) return printJson(clusters)
    print(
      tableOf(
        ['CLUSTER', 'STATE', 'QUEUED', 'FREE GIB', 'NODES'],
        clusters.map(({ topic, up, disabled, queued, capabilities, nodes }) => [
          topic,
          up ? (disabled ? 'up, disabled' : 'up') : 'down',
          String(queued),
          capabilities?.free_gib == null ? '-' : capabilities.free_gib.toFixed(1),
          nodes.join(', '),
        ]),
      ),
    )
  })
}

export function stateOf({ state, here, disabled, given_up, cleanup_done }: NodeView): string {
  const now = state === 'up' && here !== null ? here.state : state
  const notes = [
    ...(state === 'up' && here === null ? ['not answering'] : []),
    ...(state === 'down' ? [cleanup_done ? 'put right' : 'not yet put right'] : []),
    ...(disabled ? ['disabled'] : []),
    ...(given_up === null ? [] : [given_up]),
  ]
  return notes.length === 0 ? now : `${now} (${notes.join(', ')})`
}
