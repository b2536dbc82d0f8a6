import { afterEach, describe, expect, it } from 'vitest'
import type { Collector } from './collector.ts'
import { RecordedEmit, waitFor } from './collector.fake.ts'

/** One source set up for the contract. */
export interface CollectorUnderTest {
  readonly collector: Collector
  /** Makes something happen that the source must see. */
  readonly provoke: () => Promise<void> | void
  /** Makes something happen that the source must know it missed; left out where no test can make it. */
  readonly lose?: () => Promise<void> | void
  readonly cleanUp: () => Promise<void> | void
}

/** What every collector must pass, on the real system where that can be had. */
export function describeCollector(
  title: string,
  make: {
    running(): Promise<CollectorUnderTest> | CollectorUnderTest
    withoutSource(): Collector
    switchedOff(): Collector
  },
): void {
  describe(`${title} keeps the contract of collectors:`, () => {
    const opened: CollectorUnderTest[] = []
    afterEach(async () => {
      for (const one of opened.splice(0)) {
        await one.collector.stop()
        await one.cleanUp()
      }
    })
    const open = async () => {
      const made = await make.running()
      opened.push(made)
      return made
    }

    it('tells that its source is missing', async () => {
      const answer = await make.withoutSource().canRun()
      expect(answer).toMatchObject({ ok: false, why: expect.stringMatching(/\w/) })
      expect(answer).toMatchObject({ code: expect.stringMatching(/^(missing_source|unsupported_system)$/) })
    })

    it('tells that it is switched off', async () => {
      expect(await make.switchedOff().canRun()).toMatchObject({ ok: false, code: 'switched_off' })
    })

    it('emits valid events of its own classes only, and counts them', async () => {
      const { collector, provoke } = await open()
      expect(await collector.canRun()).toEqual({ ok: true, value: undefined })
      expect(collector.health().state).toBe('off')
      const emit = new RecordedEmit()
      await collector.start(emit)
      await provoke()
      await waitFor('the first event', () => emit.events[0])
      expect(collector.health().state).not.toBe('off')
      await collector.stop()
      expect([...emit.classes].every((eventClass) => collector.classes.includes(eventClass))).toBe(true)
      expect(emit.events.every((event) => event.host?.name === 'contract-host')).toBe(true)
      expect(emit.events.every((event) => event.host?.id === undefined)).toBe(true)
      expect(collector.health()).toMatchObject({ state: 'off', events: emit.events.length, lost: emit.lostCount })
    })

    it('is silent and leaves no timer, watcher or child once it has stopped', async () => {
      const before = resources()
      const { collector, provoke } = await open()
      const emit = new RecordedEmit()
      await collector.start(emit)
      await provoke()
      await waitFor('the first event', () => emit.events[0])
      await collector.stop()
      const told = emit.events.length
      const left = await waitFor('its resources to be given back', () => {
        const now = resources()
        return Object.entries(now).every(([kind, count]) => count <= (before[kind] ?? 0)) ? now : undefined
      })
      expect(left).toBeDefined()
      await provoke()
      await new Promise((resolve) => setTimeout(resolve, 150))
      expect(emit.events.length).toBe(told)
      await collector.stop()
    })

    it('tells what it missed, in numbers', async () => {
      const { collector, lose } = await open()
      if (!lose) return
      const emit = new RecordedEmit()
      await collector.start(emit)
      await lose()
      await waitFor('a loss', () => (emit.lostCount > 0 ? true : undefined))
      expect(collector.health().lost).toBe(emit.lostCount)
      expect(emit.losses.every(({ eventClass }) => collector.classes.includes(eventClass))).toBe(true)
    })
  })
}

/** What keeps a program alive, by kind. The test runner's own come and go, so only the kinds that collectors make are looked at. */
function resources(): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) {
    if (kind === 'FSEventWrap' || kind === 'ProcessWrap' || kind === 'StatWatcher')
      counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
}
