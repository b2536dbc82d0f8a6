/** Events that were imported carry the record that they were made from; rules see what was recorded, not what the import put around it. */
import type { SigmaEvent } from './event-fields.ts'
import { isRecord } from './windows-fields.ts'

/** The record itself, where no field of ECS is known for all of it. */
export function recordedOf(event: SigmaEvent): SigmaEvent {
  const own = event['firebreak']
  if (!isRecord(own) || !isRecord(own['import'])) return event
  return own['import']['format'] === 'other' && isRecord(own['record']) ? own['record'] : event
}

/** Where keywords are looked for. */
export function searchedOf(event: SigmaEvent): SigmaEvent {
  const own = event['firebreak']
  const winlog = event['winlog']
  return isRecord(winlog) && isRecord(own) && isRecord(own['import']) ? winlog : event
}
