export type {
  DriverShape,
  ExploreOptions,
} from './configuration.ts'
export { type Exploration, type Exploring, explore, type Verdict } from './explore.ts'
export { explorationOf } from './rules.ts'
export type { Progress as ExplorationProgress } from './search.ts'
export type { Counterexample } from './tell.ts'
