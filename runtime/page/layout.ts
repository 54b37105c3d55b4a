// The places of a chart's boxes and lines, worked out by elkjs once for each definition, in a thread of its own:
// a second of work may not hold up heartbeats. It draws what the chart's own picture says, as much of it as an eye
// takes in: an operation's name rather than its events, one line where there is a way there and back.

import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'
import type { ElkExtendedEdge, ElkNode } from 'elkjs/lib/elk-api.js'
import { type Arrow, graphOf, pictureOf, type ResourceType } from '../../machines/index.ts'
import type { DrawnArrow, Geometry } from './geometry.ts'

const OPTIONS = {
  'elk.algorithm': 'layered',
  'elk.direction': 'RIGHT',
  'elk.edgeRouting': 'SPLINES',
  'elk.spacing.nodeNode': '26',
  'elk.spacing.edgeNode': '16',
  'elk.spacing.edgeEdge': '12',
  'elk.layered.spacing.nodeNodeBetweenLayers': '40',
  'elk.layered.spacing.edgeNodeBetweenLayers': '16',
  'elk.layered.thoroughness': '30',
  'elk.padding': '[top=12,left=12,bottom=12,right=12]',
} as const

const BOX = 40
const LINE = 13
/** Wide enough for the system's fonts at 12 and 11 pixels. */
const widthOf = (text: string, character: number) => Math.ceil(text.length * character)

interface Line {
  readonly from: string
  readonly to: string
  /** There is a way back too. */
  isBothWays: boolean
  /** What becomes of it when a driver fails, or its node goes down, and nothing else. */
  isFault: boolean
  isCleanup: boolean
  readonly operations: Set<string>
}

/** Deterministic: the same chart has the same places. */
export async function layoutOf(type: ResourceType): Promise<Geometry> {
  const { boxes, arrows } = pictureOf(graphOf(type), 'statuses')
  const lines = linesOf(arrows)
  const graph: ElkNode = {
    id: 'chart',
    layoutOptions: OPTIONS,
    children: boxes.map(({ path }) => ({ id: path, width: widthOf(path, 7.2) + 28, height: BOX })),
    edges: lines.map(({ from, to, operations }, i) => {
      const names = [...operations]
      const width = Math.max(...names.map((name) => widthOf(name, 6.2)), 1)
      const label = { id: `l${i}`, text: names.join('\n'), width, height: names.length * LINE + 2 }
      return { id: `e${i}`, sources: [from], targets: [to], labels: names.length === 0 ? [] : [label] }
    }),
  }
  const laid = await laidOut(graph)
  return {
    width: laid.width!,
    height: laid.height!,
    states: laid.children!.map(({ id, x, y, width, height }) => ({
      id,
      x: x!,
      y: y!,
      width: width!,
      height: height!,
    })),
    arrows: laid.edges!.map((edge, i): DrawnArrow => {
      const { from, to, isBothWays, isFault, isCleanup, operations } = lines[i]!
      return {
        ...{ id: edge.id, from, to, path: pathOf(edge), isBothWays, isFault, isCleanup },
        labels: (edge.labels ?? []).map(({ x, y, width }) => ({
          ...{ x: x! + width! / 2, y: y! + 11, lines: [...operations] },
        })),
      }
    }),
    anywhere: [
      ...new Set(arrows.filter(({ from }) => from === null).flatMap(({ label }) => label.map(operationIn))),
    ],
  }
}

/** One line for all that goes between two statuses; what goes back to the previous one goes where it came from. */
function linesOf(arrows: readonly Arrow[]): Line[] {
  const comesFrom = (status: string) =>
    arrows.flatMap(({ from, to, sort }) =>
      to === status && from !== null && sort !== 'cleanup' ? [from] : [],
    )
  const lines = new Map<string, Line>()
  // What begins an operation first: its line has the name, and the way back joins it.
  const inOrder = [...arrows.filter(begins), ...arrows.filter((arrow) => !begins(arrow))]
  for (const { from, to, sort, label } of inOrder) {
    if (from === null) continue
    for (const end of to === null ? new Set(comesFrom(from)) : [to]) {
      // What happens without a change of status has no line.
      if (end === from) continue
      const back = lines.get(`${end}\n${from}`)
      const isFault = sort !== 'step' && sort !== 'held'
      if (back !== undefined) {
        if (!isFault) back.isBothWays = true
        continue
      }
      const isCleanup = sort === 'cleanup' || sort === 'used_up'
      const key = `${from}\n${end}`
      const line = lines.get(key) ?? {
        ...{
          from,
          to: end,
          isBothWays: false,
          isFault: true,
          isCleanup: true,
          operations: new Set<string>(),
        },
      }
      lines.set(key, line)
      line.isFault &&= isFault
      line.isCleanup &&= isCleanup
      // What an operation is called stands where it begins; an instant one has no other place.
      if (sort === 'step') for (const text of label) if (isCall(text)) line.operations.add(operationIn(text))
    }
  }
  return [...lines.values()]
}

/** What a caller asks for, not what a driver or node says of it. */
const isCall = (label: string) => !label.includes('.') && label !== 'cancel'
const begins = ({ sort, label }: Arrow) => sort === 'step' && label.some(isCall)

/** `extend [isLarger]`, `force_delete, not in migrating`: the operation. */
const operationIn = (label: string) => label.split(/[ ,[]/)[0]!

const THREAD = `
const { parentPort, workerData } = require('node:worker_threads')
const Elk = require(workerData.elk)
new Elk().layout(workerData.graph).then((laid) => parentPort.postMessage(laid))
`

function laidOut(graph: ElkNode): Promise<ElkNode> {
  const elk = createRequire(import.meta.url).resolve('elkjs/lib/elk.bundled.js')
  const thread = new Worker(THREAD, { eval: true, workerData: { elk, graph } })
  return new Promise<ElkNode>((resolve, reject) => {
    thread.once('message', resolve)
    thread.once('error', reject)
  }).finally(() => void thread.terminate())
}

/** ELK's splines are cubic: a start, then two control points and a point each. */
function pathOf({ sections = [] }: ElkExtendedEdge): string {
  return sections
    .map(({ startPoint, bendPoints = [], endPoint }) => {
      const points = [...bendPoints, endPoint].map(({ x, y }) => `${round(x)} ${round(y)}`)
      const start = `M${round(startPoint.x)} ${round(startPoint.y)}`
      if (points.length % 3 !== 0) return `${start} L${points.join(' L')}`
      const curves = points.flatMap((_, i) => (i % 3 === 0 ? [` C${points.slice(i, i + 3).join(', ')}`] : []))
      return start + curves.join('')
    })
    .join(' ')
}

const round = (value: number) => Math.round(value * 10) / 10
