/** Log names and metrics of this room. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

export type RespondLogName =
  | 'respond.playbooks.loaded'
  | 'respond.playbooks.kept'
  | 'respond.playbook.refused'
  | 'respond.run.started'
  | 'respond.run.ended'
  | 'respond.run.interrupted'
  | 'respond.step.ended'
  | 'respond.trigger.failed'
  | 'respond.scan.failed'

type Fields = Readonly<Record<string, unknown>>
export interface RespondLog {
  info(name: RespondLogName, fields: Fields): void
  warn(name: RespondLogName, fields: Fields): void
  error(name: RespondLogName, fields: Fields): void
}

export interface RespondMetrics {
  readonly playbooks: Gauge
  readonly playbooksRefused: Gauge
  readonly runs: Counter<'playbook' | 'state'>
  readonly steps: Counter<'type' | 'state'>
  readonly interruptions: Counter
  readonly runSeconds: Histogram
}

export function respondMetrics(registry: Registry): RespondMetrics {
  const registers = [registry]
  return {
    playbooks: new Gauge({ name: 'firebreak_respond_playbooks', help: 'Playbooks in force.', registers }),
    playbooksRefused: new Gauge({
      name: 'firebreak_respond_playbook_problems',
      help: 'What is wrong with playbook files; the log names each.',
      registers,
    }),
    runs: new Counter({
      name: 'firebreak_respond_runs_total',
      help: 'Runs that came to an end.',
      labelNames: ['playbook', 'state'],
      registers,
    }),
    steps: new Counter({
      name: 'firebreak_respond_steps_total',
      help: 'Steps that came to an end. A refused budget step is the tripwire.',
      labelNames: ['type', 'state'],
      registers,
    }),
    interruptions: new Counter({
      name: 'firebreak_respond_interruptions_total',
      help: 'Times that a run could not go on at once and was put off.',
      registers,
    }),
    runSeconds: new Histogram({
      name: 'firebreak_respond_run_seconds',
      help: 'From the start of a run to its end.',
      buckets: [0.05, 0.2, 1, 5, 30, 300, 3600],
      registers,
    }),
  }
}
