/** What happened, in order: what was seen, what machines did and what people did. */
import { Type } from 'typebox'
import type { Alert, Signal } from './alerts.ts'
import type { ApiDeps } from './api-deps.ts'
import type { Command } from './commands.ts'
import { isRecord, recordOf } from './json-column.ts'
import type { RunWithSteps } from './runs.ts'
import { closed, orNull } from './schemas.ts'

const KINDS = ['signal', 'alert', 'incident', 'run', 'step', 'command', 'person'] as const
const MAX_ENTRIES = 1_000

export const TimelineEntry = closed(
  {
    at: Type.String(),
    kind: Type.Enum([...KINDS]),
    title: Type.String(),
    agent_id: orNull(Type.String()),
    id: Type.String({ description: 'Of the signal, alert, run, command or audit record.' }),
    state: orNull(Type.String()),
    actor: orNull(Type.String({ description: 'Who did it, where somebody did.' })),
  },
  'One thing that happened.',
)
export type TimelineEntry = Type.Static<typeof TimelineEntry>

interface Seen {
  readonly incident: { readonly id: string; readonly title: string; readonly created_at: string }
  readonly alerts: readonly Alert[]
  readonly signals: readonly Signal[]
  readonly runs: readonly RunWithSteps[]
  readonly commands: readonly Command[]
}

export async function timelineOf(state: ApiDeps['state'], seen: Seen): Promise<TimelineEntry[]> {
  const entries: TimelineEntry[] = [
    entry(seen.incident.created_at, 'incident', `incident opened: ${seen.incident.title}`, seen.incident.id),
    ...seen.signals.map((signal) =>
      entry(signal.event_time, 'signal', signal.rule_title, signal.id, {
        agent_id: signal.agent_id,
        state: signal.level,
      }),
    ),
    ...seen.alerts.map((alert) =>
      entry(alert.created_at, 'alert', alert.title, alert.id, { agent_id: alert.agent_id, state: alert.severity }),
    ),
    ...seen.runs.flatMap(({ run, steps }) => [
      entry(run.started_at, 'run', `playbook ${run.playbook_id} started`, run.id, {
        agent_id: run.agent_id,
        actor: run.started_by,
      }),
      ...steps.map((step) =>
        entry(step.ended_at ?? step.started_at, 'step', `${run.playbook_id}: ${step.step_id}`, run.id, {
          agent_id: run.agent_id,
          state: step.state,
        }),
      ),
    ]),
    ...(await lifeOf(state, seen.commands)),
    ...(await peopleOf(state, seen.incident.id)),
  ]
  return entries.toSorted((a, b) => compare(a.at, b.at)).slice(0, MAX_ENTRIES)
}

async function lifeOf(state: ApiDeps['state'], commands: readonly Command[]): Promise<TimelineEntry[]> {
  if (commands.length === 0) return []
  const byId = new Map(commands.map((command) => [command.id, command]))
  const rows = await state.db
    .selectFrom('command_transitions')
    .select(['command_id', 'n', 'state', 'at'])
    .where('command_id', 'in', [...byId.keys()])
    .orderBy('command_id')
    .orderBy('n')
    .limit(MAX_ENTRIES)
    .execute()
  return rows.map((row) => {
    const command = byId.get(row.command_id)
    return entry(row.at, 'command', `${command?.type ?? 'command'} ${row.state}`, row.command_id, {
      agent_id: command?.agent_id ?? null,
      state: row.state,
      actor: row.n <= 1 ? (command?.actor ?? null) : null,
    })
  })
}

async function peopleOf(state: ApiDeps['state'], incidentId: string): Promise<TimelineEntry[]> {
  const rows = await state.db
    .selectFrom('audit')
    .select(['n', 'at', 'actor', 'action', 'detail'])
    .where('object_type', '=', 'incident')
    .where('object_id', '=', incidentId)
    .where('actor', 'like', 'user:%')
    .orderBy('n')
    .limit(MAX_ENTRIES)
    .execute()
  return rows.map((row) =>
    entry(row.at, 'person', changeOf(row.action, recordOf(row.detail)), String(row.n), { actor: row.actor }),
  )
}

/** `status: open → closed, assignee: none → ann (reason)`. */
function changeOf(action: string, detail: Readonly<Record<string, unknown>>): string {
  const { before, after, verdict, reason } = detail
  const why = typeof reason === 'string' && reason !== '' ? ` (${reason})` : ''
  if (verdict !== undefined) return `verdict: ${wordOf(before)} → ${wordOf(verdict)}${why}`
  if (!isRecord(before) || !isRecord(after)) return action
  const changes = Object.entries(after)
    .filter(([key, value]) => before[key] !== value)
    .map(([key, value]) => `${key}: ${wordOf(before[key])} → ${wordOf(value)}`)
  return `${changes.join(', ') || action}${why}`
}

function wordOf(value: unknown): string {
  return value === null || value === undefined ? 'none' : typeof value === 'string' ? value : JSON.stringify(value)
}

function entry(
  at: string,
  kind: TimelineEntry['kind'],
  title: string,
  id: string,
  more: Partial<Pick<TimelineEntry, 'agent_id' | 'state' | 'actor'>> = {},
): TimelineEntry {
  return { at, kind, title, id, agent_id: null, state: null, actor: null, ...more }
}

/** Times differ in their fraction digits, so they are compared as times and only then as text. */
function compare(a: string, b: string): number {
  return Date.parse(a) - Date.parse(b) || (a < b ? -1 : a > b ? 1 : 0)
}
