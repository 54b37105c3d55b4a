// node kill|drain|start|disable|enable|remove: what an administrator does with one node.

import type { Command } from 'commander'
import type { NodeView } from '../index.ts'
import type { Client } from './client.ts'
import { confirm } from './confirm.ts'
import { EXIT, Exit } from './exit.ts'
import { type ClientOptions, clientCommand, clientFor, withExample } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { ProgressLine } from './progress_line.ts'

interface ActionOptions extends ClientOptions {
  readonly reason?: string
  readonly wait?: true
  readonly yes?: true
}

interface Action {
  readonly what: string
  /** What is so when it has been asked for. */
  readonly said: string
  /** Asked on a terminal first. */
  readonly question?: string
  readonly takes?: 'reason' | 'wait'
}

const ACTIONS: { readonly [action: string]: Action } = {
  kill: {
    what: 'end a node at once, as a crash would',
    said: 'is killed: what it worked on is put right by the others once they see that it is down',
    question: 'is ended at once, in the middle of what it does. Go on?',
  },
  drain: {
    what: 'let a node finish what it has and take nothing new, until it is started again',
    said: 'takes nothing new and finishes what it has',
    takes: 'wait',
  },
  start: { what: 'start a node that was killed or drained', said: 'is starting' },
  disable: {
    what: 'let a node take nothing new, after restarts too, until it is enabled',
    said: 'is disabled: it goes on with what it has and takes nothing new',
    takes: 'reason',
  },
  enable: { what: 'let a disabled node take work again', said: 'is enabled' },
  remove: {
    what: 'forget a node that is down for good; refused while it has work or rows',
    said: 'is removed',
    question: 'is forgotten. Go on?',
  },
}

const LOOK_MS = 200

export function addNodeActions(program: Command): void {
  const node = withExample(
    program.command('node').description('what an administrator does with one node'),
    'rekindle node drain h1 --wait',
    'rekindle node disable h1@file --reason "new disks"',
  )
  for (const [action, { what, question, takes }] of Object.entries(ACTIONS)) {
    const example = takes === 'wait' ? ' --wait' : takes === 'reason' ? ' --reason "new disks"' : ''
    const command = clientCommand(node, `${action} <host>`, what, `rekindle node ${action} h1${example}`)
    if (takes === 'reason') command.option('--reason <words>', 'why, for who looks later')
    if (takes === 'wait') command.option('--wait', 'until it has finished everything, and show what is left')
    if (question !== undefined) command.option('--yes', 'do not ask')
    command.action((host: string, options: ActionOptions) => act(action, host, options))
  }
}

async function act(action: string, host: string, options: ActionOptions): Promise<void> {
  const { question, said } = ACTIONS[action]!
  if (question !== undefined) await confirm(`${host} ${question}`, options)
  const client = clientFor(options)
  const { reason } = options
  const answer = await client.ask<{ node: NodeView | null }>('POST', ['nodes', host, action], {
    ...(reason !== undefined && { body: { reason } }),
  })
  if (options.wait) {
    const node = await untilDrained(client, host)
    if (options.json) printJson({ ...answer, node })
    else
      print(
        plain(
          `${host} is drained: it has nothing in hand and takes nothing new; 'rekindle node start ${host}' lets it work again`,
        ),
      )
  } else if (options.json) printJson(answer)
  else print(plain(`${host} ${said}`))
}

/** A node that ends meanwhile has nothing left to finish here; others put right what it had. */
async function untilDrained(client: Client, host: string): Promise<NodeView> {
  const line = new ProgressLine(host)
  const onInterrupt = () => {
    line.end()
    tell('not waiting any longer; the drain goes on')
    process.exit(EXIT.interrupted)
  }
  process.once('SIGINT', onInterrupt)
  try {
    for (;;) {
      const { nodes } = await client.ask<{ nodes: NodeView[] }>('GET', ['nodes'])
      const node = nodes.find(({ host: name, address }) => name === host || address === host)
      if (node === undefined)
        throw new Exit(EXIT.failed, `${host} is gone from the list of nodes`, { code: 'unknown_node' })
      if (node.here === null)
        throw new Exit(
          EXIT.failed,
          `${host} ended before it was drained; what it had is put right by the others`,
          {
            code: 'node_ended',
          },
        )
      if (!['draining', 'stopping'].includes(node.here.state))
        throw new Exit(EXIT.failed, `${host} is ${node.here.state} again: someone started it`, {
          code: 'not_draining',
        })
      const left = node.here.working_on
      if (left.length === 0) return node
      const some = left
        .slice(0, 3)
        .map(({ kind, id }) => `${kind} ${id}`)
        .join(', ')
      line.say(`${left.length} left: ${some}${left.length > 3 ? ', ...' : ''}`)
      await new Promise<void>((resolve) => void client.environment.timer(LOOK_MS, resolve))
    }
  } finally {
    line.end()
    process.removeListener('SIGINT', onInterrupt)
  }
}
