import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { classOf } from './classes.ts'
import { type Event, eventSchema, FIELD_LIMITS } from './event.ts'
import { truncateEvent } from './truncate.ts'

const event = (process: Event['process']): Event => ({
  '@timestamp': '2026-01-01T00:00:00.000Z',
  event: { category: ['process'], type: ['start'], action: 'process-started' },
  ...(process ? { process } : {}),
})

describe('events', () => {
  it('keep length and digest of a command line of 10 MB that had to be cut', () => {
    const whole = `/bin/echo ${'ä'.repeat(5_000_000)}`
    const cut = truncateEvent(event({ pid: 7, command_line: whole }))
    expect(cut.process?.command_line).toHaveLength(FIELD_LIMITS.text)
    expect(cut.firebreak?.truncated).toEqual([
      {
        field: 'process.command_line',
        bytes: Buffer.byteLength(whole),
        sha256: createHash('sha256').update(whole).digest('hex'),
      },
    ])
    expect(eventSchema.Check(cut)).toBe(true)
  })

  it('cut lists and say so', () => {
    const cut = truncateEvent(event({ args: Array.from({ length: 1_000 }, (_, i) => `arg${i}`), args_count: 1_000 }))
    expect(cut.process?.args).toHaveLength(FIELD_LIMITS.list)
    expect(cut.firebreak?.truncated?.[0]?.field).toBe('process.args')
    expect(eventSchema.Check(cut)).toBe(true)
  })

  it('never cut a character in two', () => {
    const cut = truncateEvent(event({ name: 'x'.repeat(FIELD_LIMITS.keyword - 1) + '😀'.repeat(10) }))
    expect(cut.process?.name?.isWellFormed()).toBe(true)
  })

  it('are handed on untouched when nothing is too long', () => {
    const short = event({ pid: 7, args: ['a'] })
    expect(truncateEvent(short)).toBe(short)
  })

  it('are refused with a field that the schema does not have', () => {
    expect(eventSchema.Check({ ...event({ pid: 7 }), extra: 1 })).toBe(false)
    expect(eventSchema.Check(event({ pid: -1 }))).toBe(false)
    expect(eventSchema.Check({ ...event(undefined), '@timestamp': 'yesterday' })).toBe(false)
  })

  it('belong to the stream of their first category, alerts of the agent to their own', () => {
    expect(classOf({ event: { category: ['process'], type: ['start'], action: 'a' } })).toBe('process')
    expect(classOf({ event: { category: ['package'], type: ['info'], action: 'a' } })).toBe('inventory')
    expect(classOf({ event: { kind: 'alert', category: ['process'], type: ['start'], action: 'a' } })).toBe('alert')
    expect(classOf({ event: { kind: 'state', category: ['process'], type: ['info'], action: 'a' } })).toBe('inventory')
  })
})
