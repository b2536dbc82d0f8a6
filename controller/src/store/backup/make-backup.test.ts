import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AGENT, type ApiUnderTest, startApi } from '../../api/api.fixture.ts'
import type { TelemetryStore } from '../telemetry/telemetry-store.ts'
import { makeBackup } from './make-backup.ts'

let door: ApiUnderTest
beforeEach(async () => {
  door = await startApi()
})
afterEach(async () => await door.stop())

/** Makes a backup whose telemetry store does so; returns the way to ask the copy of its state. */
async function backUp(changes: Partial<TelemetryStore>) {
  const { state, audit, telemetry, clock } = door.deps
  const target = join(door.dir, 'backup')
  const now = () => clock.now()
  await makeBackup({ stateDir: door.dir, state, audit, telemetry: { ...telemetry, ...changes }, now }, target)
  return (query: string): unknown => {
    const copy = new DatabaseSync(join(target, 'state.db'), { readOnly: true })
    try {
      return Object.values(copy.prepare(query).get() ?? {})[0]
    } finally {
      copy.close()
    }
  }
}

const put = async (key: string) =>
  await door.state.write(async (tx) => await tx.insertInto('meta').values({ key, value: '' }).execute())

describe('a picture of both stores', () => {
  it('is of one moment: taken while nothing moves from one to the other', async () => {
    let isHeld = false
    let wasHeldToFreeze = false
    const ask = await backUp({
      async hold(work) {
        await put('before')
        isHeld = true
        const done = await work(undefined)
        isHeld = false
        await put('after')
        return done
      },
      freeze: async () => {
        wasHeldToFreeze = isHeld
        return { tables: [], release: async () => {} }
      },
    })
    expect(wasHeldToFreeze).toBe(true)
    expect(ask("select group_concat(key) from meta where key in ('before', 'after')")).toBe('before')
  })

  it('waits until the state says of the last block that it is in: restored, it would go in once more', async () => {
    await door.addHost(AGENT, 'web-1')
    const batch = {
      agent_id: AGENT,
      epoch: 'e',
      class: 'process',
      first_seq: 1,
      last_seq: 1,
      count: 1,
      gaps: '[]',
      body_bytes: 0,
      received_at: '',
      detected: 1 as const,
      stored: 0 as const,
      block_id: 'last',
    }
    await door.state.write(async (tx) => await tx.insertInto('ingest_batches').values(batch).execute())
    const ask = await backUp({
      async hold(work) {
        const marked = sleep(200).then(
          async () => await door.state.write((tx) => tx.updateTable('ingest_batches').set({ stored: 1 }).execute()),
        )
        const done = await work('last')
        await marked
        return done
      },
    })
    expect(ask('select stored from ingest_batches')).toBe(1)
  })
})
