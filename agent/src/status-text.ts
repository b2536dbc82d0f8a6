import type { AgentStatus } from './agent.ts'

/** The status for people; programs take `--json`. */
export function statusText(status: AgentStatus, nowMs: number): string {
  const { link, trust, ceiling } = status
  const lines = [
    `agent         ${status.agent_id}  (version ${status.version})`,
    `deployment    ${status.deployment_id}, trust file ${trust.version}${trust.expired ? `, EXPIRED at ${trust.expires_at}` : ''}`,
    link.connected
      ? `controller    ${link.controller}, connected for ${secondsSince(link.since, nowMs)} s, session ${link.session?.slice(0, 12)}`
      : `controller    NOT CONNECTED${link.lastProblem === undefined ? '' : `: ${link.lastProblem}`}`,
    `containment   ${containmentText(status)}`,
    `ceiling       ${ceilingText(ceiling)}`,
    `receipts      ${status.receipts.made} made, ${status.receipts.unacked} not acknowledged yet`,
    '',
    row('EVENTS', 'PRODUCED', 'SPOOLED', 'DROPPED'),
    ...status.streams.map(({ class: name, produced, spooled, dropped }) => row(name, produced, spooled, dropped)),
    '',
    row('CLASS', 'FROM', 'QUALITY', 'WHY'),
    ...status.sources.map(({ class: name, source, quality, why }) => row(name, source, quality, why ?? '')),
    '',
    row('COLLECTOR', 'STATE', 'EVENTS', 'LOST', 'WHY'),
    ...status.collectors.map(({ name, state, events, lost, why }) => row(name, state, events, lost, why ?? '')),
  ]
  return lines.map((line) => line.trimEnd()).join('\n')
}

function containmentText({
  containment: { phase, command_id: id, expires_at: until, drift_count: drifts },
}: AgentStatus): string {
  const parts = [
    phase,
    id && `by command ${id}`,
    until && `until ${until}`,
    drifts > 0 && `re-asserted ${drifts} times`,
  ]
  return parts.filter(Boolean).join(', ')
}

function ceilingText(ceiling: AgentStatus['ceiling']): string {
  if (ceiling.unusable !== undefined) return `UNUSABLE, everything is refused: ${ceiling.unusable}`
  return `${ceiling.observeOnly ? 'observe only; ' : ''}allowed: ${ceiling.allowed.join(', ') || 'nothing'}`
}

function row(...cells: readonly (string | number)[]): string {
  return cells.map((cell) => String(cell).padEnd(14)).join('')
}

function secondsSince(at: number | undefined, nowMs: number): number {
  return at === undefined ? 0 : Math.max(0, Math.round((nowMs - at) / 1000))
}
