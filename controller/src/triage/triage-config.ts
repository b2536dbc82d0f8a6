import { Type } from 'typebox'

export const TriageConfig = Type.Object(
  {
    suppression_window_s: Type.Integer({
      default: 600,
      minimum: 0,
      maximum: 604_800,
      description: 'Seconds in which signals of the same rule, host and program count on the same alert.',
    }),
    max_alerts_per_rule_and_host: Type.Integer({
      default: 50,
      minimum: 1,
      maximum: 10_000,
      description: 'Alerts that one rule may open on one host within the window; past it the rest counts on one alert.',
    }),
    act_threshold: Type.Number({
      default: 85,
      minimum: 0,
      maximum: 100,
      description: 'Confidence from which a playbook may act by itself, if the severity is high or critical.',
    }),
    ask_threshold: Type.Number({
      default: 30,
      minimum: 0,
      maximum: 100,
      description: 'Confidence from which an analyst is asked; below it is only kept.',
    }),
    same_host_window_s: Type.Integer({
      default: 3600,
      minimum: 0,
      maximum: 604_800,
      description: 'Seconds in which alerts of one host belong to one incident without any other tie.',
    }),
    account_window_s: Type.Integer({
      default: 14_400,
      minimum: 0,
      maximum: 604_800,
      description: 'Seconds in which alerts of one account on one host belong together.',
    }),
    indicator_window_s: Type.Integer({
      default: 86_400,
      minimum: 0,
      maximum: 2_592_000,
      description:
        'Seconds in which alerts that share a process lineage, a file hash or an address belong together, also across hosts.',
    }),
    prevalence_timeout_ms: Type.Integer({
      default: 200,
      minimum: 0,
      maximum: 10_000,
      description: 'How long triage waits for the telemetry store to say how common something is, ms for one value.',
    }),
    prevalence_lookups: Type.Integer({
      default: 32,
      minimum: 0,
      maximum: 1024,
      description: 'How many values may wait to be looked up; what is more is judged without it.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'Signals into alerts into incidents, and how sure we are.' },
)
export type TriageConfig = Type.Static<typeof TriageConfig>
