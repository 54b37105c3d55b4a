// What becomes of a service row: registered, up, down, cleaned. The one place that knows how a life's row
// changes and whose it is, for the live runtime and for the exploration alike. Each change is one swap that
// expects the row it was made from; nothing is read or written here.

import type { RetiredRow, ServiceRow } from './row.ts'

/** Which node a service row is of. */
export interface Identity {
  /** `cluster@backend@host`. */
  readonly id: string
  readonly cluster: string
  readonly backend: string
  readonly host: string
  /** Its driver can fence or undo. */
  readonly cleans_at_backend: boolean
}

/** The life of this host@backend that seems to run; one that ended here needs no watching (rule R11). */
export function runningLife(services: readonly ServiceRow[], endedHere: number): ServiceRow | undefined {
  return services.find(({ state, incarnation }) => state !== 'down' && incarnation > endedHere)
}

/**
 * The next life of a host@backend, whatever cluster its earlier lives were in: `services` are all of them. Its
 * incarnation is above each, and above those that were forgotten (rule R2); rows of it in other clusters are down
 * from then on.
 */
export function registered(
  services: readonly ServiceRow[],
  identity: Identity,
  retired: RetiredRow | null = null,
): { readonly next: ServiceRow; readonly ended: readonly ServiceRow[] } {
  const own = services.find((service) => service.id === identity.id)
  // An administrator disables a host@backend, whatever cluster it is started in next.
  const last = services.reduce<ServiceRow | undefined>(
    (latest, service) => (service.incarnation > (latest?.incarnation ?? 0) ? service : latest),
    undefined,
  )
  const next: ServiceRow = {
    kind: 'service',
    ...identity,
    version: (own?.version ?? 0) + 1,
    incarnation: Math.max(retired?.incarnation ?? 0, ...services.map((service) => service.incarnation)) + 1,
    state: 'starting',
    cleaned_incarnation: own?.cleaned_incarnation ?? 0,
    disabled: last?.disabled ?? false,
    disabled_reason: last?.disabled_reason ?? null,
  }
  const ended = services.filter((service) => service.id !== identity.id && service.state !== 'down')
  return { next, ended: ended.map(declaredDown) }
}

/** Its life has cleaned what its earlier ones left, and claims from now on. */
export function joined(service: ServiceRow): ServiceRow {
  return { ...service, version: service.version + 1, state: 'up' }
}

/** Down is for the rest of this incarnation (rule R5). */
export function declaredDown(service: ServiceRow): ServiceRow {
  return { ...service, version: service.version + 1, state: 'down' }
}

/** Every claim of the incarnation that was seen down is put right (rule R6). */
export function closed(service: ServiceRow): ServiceRow {
  return { ...service, version: service.version + 1, cleaned_incarnation: service.incarnation }
}

/** It goes on with what it has and claims nothing new, in its later lives too. Null where it is so already. */
export function disabled(service: ServiceRow, reason: string | null): ServiceRow | null {
  if (service.disabled && (reason === null || reason === service.disabled_reason)) return null
  return { ...service, version: service.version + 1, disabled: true, disabled_reason: reason }
}

export function enabled(service: ServiceRow): ServiceRow | null {
  if (!service.disabled) return null
  return { ...service, version: service.version + 1, disabled: false, disabled_reason: null }
}

/** What stays of a node that is forgotten: no later life of its host@backend has an incarnation of it. */
export function retired(service: ServiceRow, found: RetiredRow | null): RetiredRow {
  return {
    kind: 'retired',
    id: `${service.host}@${service.backend}`,
    version: (found?.version ?? 0) + 1,
    incarnation: Math.max(found?.incarnation ?? 0, service.incarnation),
  }
}

/** Why a service row is not, or not any more, this life's in one of these states; null where it is. */
export function whyNotOf(
  service: ServiceRow | undefined,
  incarnation: number | null,
  ...states: readonly ServiceRow['state'][]
): string | null {
  if (service === undefined) return 'its service row was removed'
  if (service.incarnation !== incarnation) return `life ${service.incarnation} has taken its place`
  if (!states.includes(service.state)) return `it was declared ${service.state}`
  return null
}
