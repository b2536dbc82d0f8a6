import { describe, expect, it } from 'vitest'
import type { AgentStatus } from './agent.ts'
import { statusText } from './status-text.ts'

const NOW = Date.UTC(2026, 0, 1)
const well = {
  version: '0.1.0',
  agent_id: 'abcdefghijklmnopqrstuvwxyz',
  deployment_id: '00000000-0000-4000-8000-000000000000',
  trust: { version: 3, expires_at: '2027-01-01T00:00:00.000Z', expired: false },
  link: { connected: true, controller: 'https://c:1', since: NOW - 4_400, session: 'deadbeefdeadbeefdeadbeef' },
  streams: [{ epoch: '00000000-0000-4000-8000-000000000001', class: 'process', produced: 12, spooled: 5, dropped: 7 }],
  collectors: [{ name: 'process', state: 'running', classes: ['process'], events: 12, lost: 0 }],
  sources: [{ class: 'process', source: 'sensor', quality: 'full', since_ms: NOW }],
  containment: { phase: 'none', drift_count: 0 },
  ceiling: { sha256: '0', observeOnly: false, allowed: ['isolate-host'] },
  receipts: { made: 4, unacked: 1 },
} as unknown as AgentStatus
const lineOf = (status: AgentStatus, word: string) =>
  statusText(status, NOW)
    .split('\n')
    .find((line) => line.startsWith(word))

describe('the status for people', () => {
  it('names the controller, how long it is connected, and what is counted', () => {
    expect(lineOf(well, 'controller')).toBe('controller    https://c:1, connected for 4 s, session deadbeefdead')
    expect(lineOf(well, 'receipts')).toBe('receipts      4 made, 1 not acknowledged yet')
    expect(statusText(well, NOW)).toMatch(/^process {7}12 {12}5 {13}7$/m)
    expect(statusText(well, NOW)).toMatch(/^process {7}running {7}12 {12}0$/m)
  })

  it('shouts what an operator must act on', () => {
    const ill = {
      ...well,
      trust: { ...well.trust, expired: true },
      link: { connected: false, lastProblem: 'bad_signature' },
      ceiling: { ...well.ceiling, unusable: 'line 3: no such key' },
    } as AgentStatus
    expect(lineOf(ill, 'deployment')).toContain('EXPIRED at 2027-01-01T00:00:00.000Z')
    expect(lineOf(ill, 'controller')).toBe('controller    NOT CONNECTED: bad_signature')
    expect(lineOf(ill, 'ceiling')).toBe('ceiling       UNUSABLE, everything is refused: line 3: no such key')
  })

  it('says where each class comes from, and why it is not better', () => {
    expect(statusText(well, NOW)).toMatch(/^process {7}sensor {8}full$/m)
    const why = 'sensor: missing_source: /usr/lib/firebreak-agent/firebreak-sensor: ENOENT'
    const polled = [{ class: 'process', source: 'polling', quality: 'partial', reason: 'degraded_to_polling', why }]
    const ill = { ...well, sources: polled } as unknown as AgentStatus
    expect(statusText(ill, NOW)).toContain(`process       polling       partial       ${why}`)
  })

  it('says why a source does not see', () => {
    const blind = {
      ...well,
      collectors: [{ name: 'file', state: 'off', why: 'switched_off: x', classes: ['file'], events: 0, lost: 0 }],
    } as unknown as AgentStatus
    expect(lineOf(blind, 'file')).toMatch(/off.*switched_off: x$/)
  })

  it('tells an isolation with who ordered it, until when, and how often it was put back', () => {
    const isolated = {
      ...well,
      containment: { phase: 'isolated', command_id: 'c-1', expires_at: '2026-01-02T00:00:00.000Z', drift_count: 2 },
    } as unknown as AgentStatus
    expect(lineOf(isolated, 'containment')).toBe(
      'containment   isolated, by command c-1, until 2026-01-02T00:00:00.000Z, re-asserted 2 times',
    )
    expect(lineOf(well, 'containment')).toBe('containment   none')
  })
})
