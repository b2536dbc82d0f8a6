import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { beforeEach, describe, expect, it } from 'vitest'
import { Sources } from './sources.ts'

const clock = new FakeClock()
let sources: Sources
const of = (eventClass: string) => sources.status().find((status) => status.class === eventClass)

beforeEach(() => {
  sources = new Sources(clock)
})

describe('where a class comes from', () => {
  it('is nobody, said so, until somebody offers to tell it', () => {
    expect(sources.status().map(({ class: name, source, quality }) => [name, source, quality])).toEqual([
      ['process', 'none', 'blind'],
      ['authentication', 'none', 'blind'],
      ['network', 'none', 'blind'],
      ['file', 'none', 'blind'],
      ['inventory', 'none', 'blind'],
    ])
    expect(sources.speaks('process', 'process')).toBe(false)
  })

  it('is the best that works, whatever the order in which they came', () => {
    sources.offer('process', 'process', { source: 'polling', quality: 'partial', why: 'short ones are missed' })
    expect(sources.speaks('process', 'process')).toBe(true)
    sources.offer('kernel', 'process', { source: 'sensor', quality: 'full' })
    sources.offer('audit', 'process', { source: 'audit', quality: 'full' })
    expect(['kernel', 'audit', 'process'].filter((by) => sources.speaks(by, 'process'))).toEqual(['kernel'])
    expect(of('process')).toEqual({ class: 'process', source: 'sensor', quality: 'full', since_ms: clock.now() })
    sources.withdraw('kernel', 'process')
    expect(sources.speaks('audit', 'process')).toBe(true)
    expect(of('process')).toMatchObject({ source: 'audit', quality: 'full' })
  })

  it('says why the better source does not speak, and since when', async () => {
    sources.offer('process', 'process', { source: 'polling', quality: 'partial' })
    sources.offer('kernel', 'process', { source: 'sensor', quality: 'full' })
    await clock.advance(5_000)
    sources.withdraw('kernel', 'process', { source: 'sensor', reason: 'sensor_restarted', why: 'it was killed' })
    const since = clock.now()
    await clock.advance(5_000)
    expect(of('process')).toEqual({
      class: 'process',
      source: 'polling',
      quality: 'partial',
      reason: 'sensor_restarted',
      why: 'sensor: it was killed',
      since_ms: since,
    })
    sources.offer('kernel', 'process', { source: 'sensor', quality: 'full' })
    expect(of('process')).toEqual({ class: 'process', source: 'sensor', quality: 'full', since_ms: clock.now() })
  })

  it('wakes those who stand by when the one who speaks falls silent', () => {
    const woken: string[] = []
    sources.offer('network', 'network', { source: 'polling', quality: 'partial' })
    sources.offer('kernel', 'network', { source: 'sensor', quality: 'full' })
    sources.onChange((eventClass) => woken.push(`${eventClass} ${sources.speaks('network', 'network')}`))
    sources.withdraw('kernel', 'network')
    expect(woken).toEqual(['network true'])
  })

  it('calls polling a step down only where something better could be', () => {
    sources.offer('file', 'file', { source: 'polling', quality: 'partial' })
    sources.offer('inventory', 'inventory', { source: 'polling', quality: 'full' })
    expect(of('file')).toMatchObject({ reason: 'degraded_to_polling' })
    expect(of('inventory')).not.toHaveProperty('reason')
  })
})
