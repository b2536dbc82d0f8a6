/**
 * Every number of the confidence, in one place: log-odds that add up (`confidence = 100 / (1 + e^-sum)`). +0.7 doubles the odds,
 * -0.7 halves them. They are starting values, set so that the stated cases come out right, until verdicts fit them; what combines
 * them (`confidence.ts`) does not know where they come from.
 *
 * The cases (with `act` from 85 and `ask` from 30): one stable rule of level high or critical acts by itself, also on a host of low
 * criticality and in a session with a terminal, and so does a critical one under test; a high one under test asks first, and so does
 * what half of the fleet does; one of level medium asks and never acts by itself; a stable low one is only kept; two different strong
 * rules on one process lineage act although both are under test.
 */
import type { RuleStatus, Severity } from './index.ts'

export const WEIGHTS = {
  /** Sigma's own definition of the levels: critical "should always be reviewed", medium "frequently benign". */
  level: { informational: -3.5, low: -2, medium: -0.5, high: 1.4, critical: 2.2 } satisfies Record<Severity, number>,
  /** Sigma's status: stable "may be used in production", test "mostly stable", experimental "could lead to false positives". */
  status: {
    stable: 0.8,
    test: 0,
    experimental: -0.8,
    deprecated: -1.5,
    unsupported: -1.5,
    none: -0.3,
  } satisfies Record<RuleStatus | 'none', number>,
  /** What half of the fleet runs is most likely its software. Novelty says less: most command lines are new somewhere. */
  prevalence: { never: 0.2, some: -0.5, common: -1.2 },
  /** From how many hosts "some", from which share of the fleet "common", and below which fleet nothing can be said. */
  prevalenceBounds: { hosts: 3, share: 0.5, fleet: 3 },
  /** Attackers go where it hurts; small, because it says more about the harm than about the truth. */
  criticality: { low: -0.2, normal: 0, high: 0.15, critical: 0.3 },
  /** A shell or tool under a network daemon is the picture of an exploited service; at a terminal odd things are often an administrator's. */
  session: { daemon: 0.6, terminal: -0.2 },
  /** Further rules on the lineage of the strongest alert: independent views of one thing, so less each time. Index = how many. */
  lineage: [0, 0.7, 1.2, 1.5],
  /** Further rules on the same host without a common lineage. */
  sameHost: [0, 0.2, 0.35, 0.45],
  /** Each further tactic in ATT&CK's order: an intrusion goes forward, noise does not. */
  tacticStep: 0.4,
  tacticMost: 1.2,
  /** The same hash or address on several hosts. */
  hosts: 0.4,
} as const
