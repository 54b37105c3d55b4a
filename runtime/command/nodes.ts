// nodes, clusters, stuck, node kill|drain|start: who works, and what does not get on.

import type { Command } from 'commander'
import type { ClusterStatus, NodeView, Stuck } from '../index.ts'
import { type ClientOptions, clientCommand, clientFor, withExample } from './options.ts'
import { plain, print, printJson, tableOf } from './output.ts'

const SAID = {
  kill: 'is killed: what it worked on is put right by the others once they see that it is down',
  drain: 'takes nothing new and finishes what it has',
  start: 'is starting',
} as const

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

  clientCommand(program, 'stuck', 'list what does not get on by itself, and why', 'rekindle stuck').action(
    async (options: ClientOptions) => {
      const { stuck } = await clientFor(options).ask<{ stuck: Stuck[] }>('GET', ['stuck'])
      if (options.json) return printJson(stuck)
      if (stuck.length === 0) return print('nothing is stuck')
      print(
        tableOf(
          ['KIND', 'ID', 'REASON', 'WHY'],
          stuck.map(({ kind, id, reason, message }) => [kind, id, reason, message]),
        ),
      )
    },
  )

  const node = withExample(
    program.command('node').description('kill, drain or start a node'),
    'rekindle node kill h1',
  )
  for (const [action, what] of [
    ['kill', 'end a node at once, as a crash would'],
    ['drain', 'let a node finish what it has and take nothing new'],
    ['start', 'start a node that was killed'],
  ] as const)
    clientCommand(node, `${action} <host>`, what, `rekindle node ${action} h1`).action(
      async (host: string, options: ClientOptions) => {
        const answer = await clientFor(options).ask<{ node: NodeView | null }>('POST', [
          'nodes',
          host,
          action,
        ])
        if (options.json) printJson(answer)
        else print(plain(`${host} ${SAID[action]}`))
      },
    )
}

function stateOf({ state, here, disabled, given_up, cleanup_done }: NodeView): string {
  const now = state === 'up' && here !== null ? here.state : state
  const notes = [
    ...(state === 'up' && here === null ? ['not answering'] : []),
    ...(state === 'down' ? [cleanup_done ? 'put right' : 'not yet put right'] : []),
    ...(disabled ? ['disabled'] : []),
    ...(given_up === null ? [] : [given_up]),
  ]
  return notes.length === 0 ? now : `${now} (${notes.join(', ')})`
}
