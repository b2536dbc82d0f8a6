import type { Route, Severity } from './index.ts'
import type { TriageConfig } from './triage-config.ts'

export interface RouteDecision {
  readonly route: Route
  readonly why: string
}

/** Acting needs both: being sure, and that it is worth it. */
export function routeOf(
  confidence: number,
  severity: Severity,
  config: Pick<TriageConfig, 'act_threshold' | 'ask_threshold'>,
): RouteDecision {
  const grave = severity === 'high' || severity === 'critical'
  if (confidence >= config.act_threshold && grave) {
    return { route: 'act', why: `confidence ${confidence} reaches ${config.act_threshold} and severity is ${severity}` }
  }
  if (confidence >= config.ask_threshold) {
    const why = grave
      ? `confidence ${confidence} is below ${config.act_threshold}`
      : `severity ${severity} is too low to act by itself`
    return { route: 'ask', why }
  }
  return { route: 'log', why: `confidence ${confidence} is below ${config.ask_threshold}` }
}
