/** Which columns a table of events has: those of their class when all are of one, else the ones that all have. */
import type { Event } from '@firebreak/shared/events/event.ts'
import { hostOf, peerOf, whatOf, whoOf } from './event-what.ts'
import type { Column } from './output.ts'

type EventColumn = Column<Event>

const TIME: EventColumn = {
  head: 'TIME (UTC)',
  cell: (event) => event['@timestamp'].slice(0, 23).replace('T', ' ').replace('Z', ''),
}
const HOST: EventColumn = { head: 'HOST', cell: (event) => hostOf(event).slice(0, 20) }
const ACTION: EventColumn = { head: 'ACTION', cell: (event) => event.event.action.slice(0, 24), optional: true }
const WHO: EventColumn = { head: 'WHO', cell: (event) => whoOf(event).slice(0, 16), optional: true }
const WHAT: EventColumn = { head: 'WHAT', cell: whatOf, flexible: true }
const PROCESS: EventColumn = { head: 'PROCESS', cell: ({ process }) => (process?.name ?? '-').slice(0, 16) }
const PID: EventColumn = { head: 'PID', cell: ({ process }) => String(process?.pid ?? '-') }

const COLUMNS: Readonly<Record<string, readonly EventColumn[]>> = {
  process: [
    TIME,
    HOST,
    PID,
    { head: 'PARENT', cell: ({ process }) => (process?.parent?.name ?? '-').slice(0, 16), optional: true },
    WHO,
    { head: 'EXIT', cell: ({ process }) => String(process?.exit_code ?? '-'), optional: true },
    { head: 'COMMAND LINE', cell: whatOf, flexible: true },
  ],
  network: [
    TIME,
    HOST,
    PROCESS,
    PID,
    { head: 'PEER', cell: peerOf },
    { head: 'DOMAIN', cell: (event) => event.dns?.question?.name ?? event.destination?.domain ?? '-', flexible: true },
    ACTION,
    WHO,
  ],
  file: [TIME, HOST, PROCESS, ACTION, WHO, { head: 'PATH', cell: ({ file }) => file?.path ?? '-', flexible: true }],
  authentication: [
    TIME,
    HOST,
    { head: 'ACCOUNT', cell: (event) => (event.user?.name ?? event.user?.id ?? '-').slice(0, 24) },
    ACTION,
    { head: 'OUTCOME', cell: ({ event }) => event.outcome ?? '-' },
    { head: 'FROM', cell: ({ source }) => source?.ip ?? source?.domain ?? '-' },
    { ...WHAT, optional: true },
  ],
}
const GENERAL: readonly EventColumn[] = [TIME, HOST, ACTION, WHO, WHAT]

export function columnsOf(events: readonly Event[]): readonly EventColumn[] {
  const classes = new Set(events.map(({ event }) => event.category[0] ?? ''))
  const [only = ''] = classes
  const columns = classes.size === 1 ? (COLUMNS[only] ?? GENERAL) : GENERAL
  // A column in which nobody says anything is only width.
  return columns.filter(({ cell, optional }) => optional !== true || events.some((event) => cell(event) !== '-'))
}

export function fieldColumns(fields: readonly string[]): readonly EventColumn[] {
  return fields.map((field) =>
    field === '@timestamp' ? TIME : { head: field, cell: (event) => fieldText(event, field), flexible: true },
  )
}

/** `undefined`: the event does not have it. Of a list of things, the value of each. */
export function fieldOf(event: Event, field: string): unknown {
  return valueAt(event, field.split('.'))
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  if (Array.isArray(value)) {
    const each = value.map((one) => valueAt(one, path)).filter((one) => one !== undefined)
    return path.length === 0 ? value : each.length === 0 ? undefined : each
  }
  const [head, ...rest] = path
  if (head === undefined) return value
  if (typeof value !== 'object' || value === null) return undefined
  if (Object.hasOwn(value, head)) return valueAt((value as Readonly<Record<string, unknown>>)[head], rest)
  // What other systems say is kept under names with dots in them.
  const whole = path.join('.')
  return Object.hasOwn(value, whole) ? (value as Readonly<Record<string, unknown>>)[whole] : undefined
}

export function fieldText(event: Event, field: string): string {
  const value = fieldOf(event, field)
  if (value === undefined || value === null) return '-'
  return Array.isArray(value) ? value.map(plainText).join(' ') : plainText(value)
}

function plainText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '-')
}
