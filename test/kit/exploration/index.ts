export {
  BadConfiguration,
  type DriverShape,
  type ExploreOptions,
} from './configuration.ts'
export { type Exploration, type Exploring, explore, type Verdict } from './explore.ts'
export { explorationOf, RULE_NAMES, RULES, type Rule } from './rules.ts'
export type { Progress as ExplorationProgress } from './search.ts'
export type { Counterexample } from './tell.ts'
