// A chart as the page draws it: boxes and lines with their places, nothing to be worked out.

export interface Geometry {
  readonly width: number
  readonly height: number
  readonly states: readonly DrawnState[]
  readonly arrows: readonly DrawnArrow[]
  /** Operations that almost every status takes: they have no line. */
  readonly anywhere: readonly string[]
}

export interface DrawnState {
  /** The status. */
  readonly id: string
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

export interface DrawnArrow {
  readonly id: string
  readonly from: string
  readonly to: string
  /** As SVG's `d`. */
  readonly path: string
  readonly isBothWays: boolean
  /** Where it goes when a driver fails, or its node goes down. */
  readonly isFault: boolean
  readonly isCleanup: boolean
  readonly labels: readonly { readonly x: number; readonly y: number; readonly lines: readonly string[] }[]
}
