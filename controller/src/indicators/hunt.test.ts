/** From the wire to the alert, and back into what is stored: real readers, real stores. */
import { createHash, randomUUID } from 'node:crypto'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { MatchTable, tableMemory } from '@firebreak/shared/indicators/match-table.ts'
import { observableOf } from '@firebreak/shared/indicators/observable.ts'
import { decodeFrame, encodeBatch } from '@firebreak/shared/wire/frame.ts'
import { expect, it } from 'vitest'
import { startRig } from '../controller.rig.ts'
import { createBatchReader } from '../ingest/reader/batch-reader.ts'

const HOST = 'aaaabbbbccccddddeeeeffff22' as AgentId
const EPOCH = '01a20d6d-5b90-7c9b-8378-2e328fd2af15'

function line(more: object): string {
  const event = { category: ['network'], type: ['start'], action: 'connected' }
  return JSON.stringify({ '@timestamp': '2026-11-24T11:00:00.000Z', event, host: { name: 'web-1' }, ...more })
}

it('the readers show detection only events with a known value, also of what came after they began', async () => {
  const reader = createBatchReader({ error: (name) => expect.unreachable(name) }, 1)
  const lines = ['203.0.114.9', '198.51.101.7', '203.0.114.10'].map((ip) => Buffer.from(line({ destination: { ip } })))
  const header = {
    epoch: EPOCH,
    class: 'network' as const,
    first_seq: 1,
    last_seq: 3,
    count: 3,
    body_bytes: lines.reduce((sum, { length }) => sum + length + 1, 0),
    gaps: [],
  }
  const frame = decodeFrame(encodeBatch(header, lines, 'ab'.repeat(32), () => new Uint8Array(64)))
  if (!frame.ok || frame.value.kind !== 'batch') throw new Error('not a batch')
  const { body } = frame.value.batch
  const read = async () => {
    const origin = { agentId: HOST, epoch: EPOCH, class: 'network', receivedAt: new Date().toISOString() }
    const reading = await reader.read({ origin, header, body })
    if (!reading.ok) throw new Error(reading.why)
    return reading.noticed.map(({ event }) => event.destination?.ip)
  }
  try {
    reader.use({ rules: [], filters: [] })
    const table = new MatchTable(tableMemory(10))
    reader.watch(table.shared)
    expect(await read()).toEqual([])
    table.add('ipv4', '203.0.114.10')
    expect(await read()).toEqual(['203.0.114.10'])
    table.add('cidr', '198.51.101.0/24')
    expect(await read()).toEqual(['198.51.101.7', '203.0.114.10'])
  } finally {
    await reader.stop()
  }
})

it('what comes is an alert, what is stored is found when the indicator comes later, and both are counted once', async () => {
  const rig = await startRig({ 'indicators.hunt_delay_s': 0, 'ingest.block_wait_ms': 50 })
  const { imports, indicators, state, detect, telemetry } = rig.controller
  const send = async (...lines: string[]) => {
    const fileSha256 = createHash('sha256').update(lines.join('\n')).digest('hex')
    const wanted = { fileName: 'x', fileSha256, readAs: 'ecs' as const, host: '', shiftMs: null, again: false }
    const { id } = await imports.begin(wanted, 'user:test')
    const taken = await imports.take(id, 1, lines)
    if (!taken.ok) throw new Error(taken.why)
    await detect.idle()
  }
  const know = async (source: string, ...written: string[]) => {
    const values = written.map((text) => {
      const found = observableOf(text)
      if (!found.ok) throw new Error(found.why)
      return { ...found.value, confidence: 90 }
    })
    const importId = randomUUID()
    await indicators.take({ source, importId, indicators: values, patterns: [] })
    await indicators.complete({ source, importId, replace: false, revoked: [] }, 'user:test')
  }
  const signals = async () =>
    await state.db
      .selectFrom('signals')
      .select(['rule_title', 'level', 'event'])
      .where('detector', '=', 'indicator')
      .orderBy('rule_title')
      .execute()
  const hunted = async () => {
    await expect
      .poll(async () => (await indicators.hunts(9)).map((hunt) => hunt.state), { timeout: 15_000 })
      .not.toContain('waiting')
    await expect
      .poll(async () => (await indicators.hunts(9)).map((hunt) => hunt.state), { timeout: 15_000 })
      .not.toContain('running')
  }
  try {
    await know('live-list', 'evil.example')
    await send(
      line({ dns: { question: { name: 'c2.Evil.example' } } }),
      line({ destination: { ip: '203.0.114.9' } }),
      line({ process: { name: 'x', executable: '/tmp/x', hash: { sha256: 'ab'.repeat(32) } } }),
      line({ dns: { question: { name: 'good.example' } } }),
    )
    expect(await signals()).toMatchObject([
      { rule_title: 'Known malicious domain evil.example (live-list)', level: 'high' },
    ])
    const alerts = await state.db.selectFrom('alerts').select(['title', 'severity', 'parts']).execute()
    expect(alerts).toMatchObject([{ title: 'Known malicious domain evil.example (live-list)', severity: 'high' }])
    await expect.poll(async () => (await telemetry.stats()).events, { timeout: 15_000 }).toBe(4)
    await hunted()
    await know('late-list', '203.0.114.0/24', 'ab'.repeat(32), 'evil.example', 'nowhere.example')
    await hunted()
    expect((await signals()).map(({ rule_title: title }) => title)).toEqual([
      `Known malicious address block 203.0.114.0/24 (late-list), found in stored events`,
      'Known malicious domain evil.example (live-list)',
      `Known malicious file ${'ab'.repeat(32)} (late-list), found in stored events`,
    ])
    const past = JSON.parse((await signals())[0]?.event ?? '') as object
    expect(past).toMatchObject({
      destination: { ip: '203.0.114.9' },
      message: expect.stringContaining('found in stored events after the indicator came'),
      threat: { indicator: { found_in_the_past: true } },
    })
    const counts = (await indicators.list({ limit: 9 })).map(
      ({ value, source, sightings }) => `${source} ${value.slice(0, 15)} ${sightings}`,
    )
    expect(counts).toContain('live-list evil.example 1')
    expect(counts).toContain('late-list 203.0.114.0/24 1')
    expect(counts).toContain('late-list nowhere.example 0')
  } finally {
    await rig.stop()
  }
}, 60_000)
