import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { describe, expect, it } from 'vitest'
import type { Signal } from './index.ts'
import { createPrevalence, prevalenceKey } from './prevalence.ts'

const ran = (command_line: string) => ({ event: { process: { command_line } } }) as unknown as Signal
const key = (value: string) => prevalenceKey({ field: 'process.command_line', value })
const config = { prevalence_timeout_ms: 200, prevalence_lookups: 3 }

function rig(answer: (value: string) => Promise<{ events: number; hosts: number }>) {
  const clock = new FakeClock()
  const asked: string[] = []
  const failures: string[] = []
  const telemetry = {
    prevalence: (_field: string, value: string) => {
      asked.push(value)
      return answer(value)
    },
  }
  return { clock, asked, failures, lookup: createPrevalence(telemetry, clock, config, (why) => failures.push(why)) }
}

describe('how common something is', () => {
  it('is asked once for the same value within ten minutes', async () => {
    const { clock, asked, lookup } = rig(async () => ({ events: 5, hosts: 2 }))
    await lookup.of([ran('ls'), ran('ls')])
    const found = await lookup.of([ran('ls')])
    expect(found.get(key('ls'))).toMatchObject({ known: true, hosts: 2 })
    expect(asked).toEqual(['ls'])
    await clock.advance(600_001)
    await lookup.of([ran('ls')])
    expect(asked).toEqual(['ls', 'ls'])
  })

  it('is said to be unknown when the telemetry store does not answer in time, and nobody waits longer', async () => {
    const { clock, failures, lookup } = rig(() => new Promise(() => undefined))
    const waiting = lookup.of([ran('ls')])
    await clock.advance(200)
    expect((await waiting).get(key('ls'))).toEqual({ known: false, why: 'no answer within 200 ms' })
    expect(failures).toHaveLength(1)
  })

  it('is not asked for half a minute after three failures in a row', async () => {
    const { clock, asked, lookup } = rig(async () => {
      throw new Error('down')
    })
    await lookup.of([ran('a'), ran('b'), ran('c')])
    expect((await lookup.of([ran('d')])).get(key('d'))).toMatchObject({ known: false })
    expect(asked).toEqual(['a', 'b', 'c'])
    await clock.advance(30_001)
    await lookup.of([ran('e')])
    expect(asked).toContain('e')
  })

  it('is asked for no more values of one batch than configured', async () => {
    const { asked, lookup } = rig(async () => ({ events: 0, hosts: 0 }))
    const found = await lookup.of(['a', 'b', 'c', 'd', 'e'].map(ran))
    expect(asked).toHaveLength(3)
    expect(found.get(key('e'))).toEqual({ known: false, why: 'too much to look up at once' })
  })
})
