// The runtime's measures as Prometheus reads them, beside those of the process. prom-client words them; nothing
// is counted here. The library that embedders import never loads this.

import { collectDefaultMetrics, Registry } from 'prom-client'
import { MEASURES, type Measured, type MeasureName, type Sample } from '../index.ts'

export const METRICS_TYPE = Registry.PROMETHEUS_CONTENT_TYPE

/** Memory, processor and the delay of the event loop: of the process, so there is one, from the first look on. */
let ofProcess: Registry | null = null

/** The name under which a measure is published. */
export function metricName(name: MeasureName): string {
  return `rekindle_${name}${MEASURES[name][0] === 'counter' ? '_total' : ''}`
}

/** Everything that was measured up to now, as text. */
export async function metricsText(measured: Measured): Promise<string> {
  if (ofProcess === null) {
    ofProcess = new Registry()
    collectDefaultMetrics({ register: ofProcess })
  }
  const registry = new Registry()
  for (const name of Object.keys(MEASURES) as MeasureName[]) {
    const [type, help] = MEASURES[name]
    const metric = metricName(name)
    // What prom-client asks of a metric to word it; its own classes count by themselves, and ours are counted.
    const worded = {
      name: metric,
      get: async () => ({
        name: metric,
        help: help.replaceAll('`', "'"),
        type,
        values: (measured[name] as readonly Sample[]).flatMap((sample) => valuesOf(metric, sample)),
        aggregator: 'sum',
      }),
    }
    registry.registerMetric(worded as never)
  }
  return `${await registry.metrics()}\n${await ofProcess.metrics()}`
}

interface Value {
  readonly metricName?: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

function valuesOf(metric: string, sample: Sample): Value[] {
  if ('value' in sample) return [{ labels: sample.labels, value: sample.value }]
  const { labels, buckets, sum, count } = sample
  return [
    ...buckets.map(({ le, count }) => ({
      metricName: `${metric}_bucket`,
      labels: { ...labels, le: le === Number.POSITIVE_INFINITY ? '+Inf' : le },
      value: count,
    })),
    { metricName: `${metric}_sum`, labels, value: sum },
    { metricName: `${metric}_count`, labels, value: count },
  ]
}
