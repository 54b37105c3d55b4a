// Every chart that there is, with the states and events of its matrix where it is a resource's.

import {
  apiChart,
  backup,
  type Drawable,
  nodeChart,
  schedulerChart,
  snapshot,
  supervisorChart,
  volume,
} from '../../machines/index.ts'
import { dnsRecord } from '../examples/dns_record.ts'

export const types = { volume, snapshot, backup, dns_record: dnsRecord }

export const drawables: Readonly<Record<string, Drawable>> = {
  ...types,
  ...{ node: nodeChart, scheduler: schedulerChart, supervisor: supervisorChart, api: apiChart },
}
