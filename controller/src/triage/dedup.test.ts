import { assert, property, string } from 'fast-check'
import { isUuid, type AgentId, type EventId } from '@firebreak/shared/ids.ts'
import { describe, expect, it } from 'vitest'
import { collapsedKeyOf, dedupKeyOf, groupSignals, keyPrefixOf, ruleOfKey, seenAt, signalIdOf } from './dedup.ts'
import type { Signal } from './index.ts'

const NOW = Date.UTC(2026, 0, 10)
const signal = (eventTime: string, event: object, ruleId = 'r', agentId = 'a') =>
  ({ agentId: agentId as AgentId, ruleId, eventId: eventTime as EventId, eventTime, event }) as unknown as Signal
const bash = { process: { executable: '/usr/bin/bash', entity_id: '1' } }

describe('what counts as one alert', () => {
  it('is one rule, one host and one program, whatever the process', () => {
    const one = dedupKeyOf(signal('t', bash))
    expect(dedupKeyOf(signal('t', { process: { executable: '/usr/bin/bash', entity_id: '2' } }))).toBe(one)
    expect(dedupKeyOf(signal('t', { process: { executable: '/usr/bin/nc' } }))).not.toBe(one)
    expect(dedupKeyOf(signal('t', bash, 'other'))).not.toBe(one)
    expect(dedupKeyOf(signal('t', bash, 'r', 'b'))).not.toBe(one)
  })

  it('keeps keys apart whatever stands in them, and gives the rule back', () => {
    assert(
      property(string(), string(), string(), (agent, rule, program) => {
        const made = signal('t', { process: { executable: program } }, rule, agent)
        expect(ruleOfKey(dedupKeyOf(made))).toBe(rule)
        expect(dedupKeyOf(made).startsWith(keyPrefixOf(made))).toBe(true)
        expect(collapsedKeyOf(made).startsWith(keyPrefixOf(made))).toBe(true)
      }),
    )
  })

  it('begins anew after a pause longer than the window, in events out of order too', () => {
    const at = (minute: number) => signal(new Date(NOW + minute * 60_000).toISOString(), bash)
    const groups = groupSignals([at(25), at(0), at(30), at(5)], 600_000, (time) => Date.parse(time))
    expect(groups.map((group) => group.signals.length)).toEqual([2, 2])
  })

  it('believes a clock within limits and takes the arrival for 1970, 2262 and what is no time', () => {
    expect(seenAt('2026-01-09T23:00:00Z', NOW)).toBe(Date.UTC(2026, 0, 9, 23))
    for (const time of ['1970-01-01T00:00:00Z', '2262-04-11T00:00:00Z', '2026-99-99T00:00:00Z']) {
      expect(seenAt(time, NOW), time).toBe(NOW)
    }
  })

  it('names the same signal the same, in the form of a UUID', () => {
    const id = signalIdOf(signal('t', bash))
    expect(isUuid(id)).toBe(true)
    expect(signalIdOf(signal('t', {}))).toBe(id)
    expect(signalIdOf(signal('u', bash))).not.toBe(id)
  })
})
