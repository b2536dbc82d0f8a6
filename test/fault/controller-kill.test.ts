import { describe, expect, it } from 'vitest'
import { killRepeatedly } from './kill-cycles.ts'

/** `pnpm bench ingest-kill` does it 500 times. */
const KILLS = 6

describe('a controller that is killed while 20 agents send', () => {
  it('has stored every event that it acked, each once, and the numbers close', async () => {
    const report = await killRepeatedly(KILLS, 20, () => undefined)
    expect(report.wrong).toEqual([])
    expect(report.stored).toEqual({ events: report.produced, distinct: report.produced })
    expect(report.produced).toBeGreaterThan(1_000)
    process.stdout.write(`killed ${KILLS} times, ${report.produced} events, each stored once\n`)
  }, 400_000)
})
