import type { Event } from '@firebreak/shared/events/event.ts'

/** The alert that the rules of an isolated host were gone or changed. `gapMs`: they were not in force at most so long. */
export function driftEvent(drift: {
  readonly at: number
  readonly commandId: string
  readonly gapMs: number
  readonly packets: number
  readonly reason: string
}): Event {
  return {
    '@timestamp': new Date(drift.at).toISOString(),
    event: {
      kind: 'alert',
      category: ['intrusion_detection'],
      type: ['change'],
      dataset: 'firebreak.containment',
      action: 'isolation-drift',
      reason: drift.reason,
    },
    message: `The isolation of this host was undone by somebody and is in force again; gap at most ${Math.round(drift.gapMs)} ms.`,
    firebreak: { containment: { command_id: drift.commandId, gap_ms: drift.gapMs, packets: drift.packets } },
  }
}
