/** Log names and figures of this room. */
import { Counter, type Registry } from 'prom-client'

export type CoverageLogName = 'coverage.gaps.failed' | 'coverage.windows.pruned'

export interface CoverageLog {
  error(name: CoverageLogName, fields: Readonly<Record<string, unknown>>): void
  info(name: CoverageLogName, fields: Readonly<Record<string, unknown>>): void
}

export interface CoverageMetrics {
  readonly lost: Counter<'class' | 'reason'>
}

export function coverageMetrics(registry: Registry): CoverageMetrics {
  return {
    lost: new Counter({
      name: 'firebreak_coverage_events_lost_total',
      help: 'Events that never came, by class and by the reason that their gap record names.',
      labelNames: ['class', 'reason'],
      registers: [registry],
    }),
  }
}
