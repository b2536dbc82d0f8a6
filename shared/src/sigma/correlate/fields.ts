/** The few values of an event that correlations need: read once where the rule matched, then carried along (and kept over a restart). */
import type { SigmaEvent } from '../event-fields.ts'
import { type Accessor, pathAccessor } from '../event-fields.ts'
import { createRecogniser } from '../log-source.ts'
import { recordedOf } from '../recorded.ts'
import type { CorrelationSource } from './resolve.ts'

export type FieldValue = string | number
export type Fields = ReadonlyMap<string, FieldValue>

const MAX_TEXT = 1_024
const MAX_LIST = 64

/** Names under which rules ask for the machine; one that does not say its name is told by its id. */
const MACHINE = new Set([
  'Computer',
  'ComputerName',
  'Hostname',
  'hostname',
  'Host',
  'host',
  'host.name',
  'host.hostname',
])
const machine = ['host.name', 'host.hostname', 'host.id'].map((name) => pathAccessor(name))

/** Reads fields under the names that rules give them, whatever the shape of the event. */
export function createFieldReader(): (event: unknown, names: readonly string[]) => Fields {
  const recogniser = createRecogniser()
  const byShape = new WeakMap<object, Map<string, Accessor>>()
  return (event, names) => {
    const fields = new Map<string, FieldValue>()
    if (typeof event !== 'object' || event === null || Array.isArray(event)) return fields
    const record = recordedOf(event as SigmaEvent)
    const { shape } = recogniser.sourceOf(record)
    let accessors = byShape.get(shape)
    if (accessors === undefined) byShape.set(shape, (accessors = new Map()))
    for (const name of names) {
      let accessor = accessors.get(name)
      if (accessor === undefined) accessors.set(name, (accessor = shape.accessor(name)))
      const value = plainOf(accessor(record)) ?? (MACHINE.has(name) ? machineOf(event as SigmaEvent) : undefined)
      if (value !== undefined) fields.set(name, value)
    }
    return fields
  }
}

function machineOf(event: SigmaEvent): FieldValue | undefined {
  for (const accessor of machine) {
    const value = plainOf(accessor(event))
    if (value !== undefined) return value
  }
  return undefined
}

function plainOf(value: unknown): FieldValue | undefined {
  if (typeof value === 'string') return value.length > MAX_TEXT ? value.slice(0, MAX_TEXT) : value
  if (typeof value === 'number') return value
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value)
  if (!Array.isArray(value)) return undefined
  const items = value.slice(0, MAX_LIST).flatMap((item) => plainOf(item) ?? [])
  if (items.length <= 1) return items[0]
  return items.map(String).join(', ').slice(0, MAX_TEXT)
}

/** A field as one source of a correlation has it: an alias means another field for each. */
export function fieldOf(fields: Fields, name: string, source: CorrelationSource): FieldValue | undefined {
  return fields.get(source.aliases.get(name) ?? name)
}

export function numberOf(value: FieldValue | undefined): number | undefined {
  if (typeof value === 'string' && value.trim() === '') return undefined
  const number = Number(value)
  return Number.isFinite(number) ? number : undefined
}
