/** How much may be remembered. Past a limit the oldest goes, and is counted under its rule. */
export interface CorrelationLimits {
  /** Groups of all correlations together. */
  readonly windows: number
  readonly windowsPerRule: number
  /** Events in all windows together. */
  readonly events: number
  readonly eventsPerWindow: number
  /** How much later than its neighbours an event may come and still be counted with them. */
  readonly latenessMs: number
}

export const CORRELATION_LIMITS: CorrelationLimits = {
  windows: 1_000_000,
  windowsPerRule: 250_000,
  events: 2_000_000,
  eventsPerWindow: 10_000,
  latenessMs: 3_600_000,
}
