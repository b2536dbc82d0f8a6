import { zstdDecompressSync } from 'node:zlib'
import type { RecordedEvent, RecordingLine } from '@firebreak/shared/recordings/recording.ts'
import { WIRE } from '@firebreak/shared/wire/limits.ts'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ApiUnderTest, AGENT, startApi } from '../api/api.fixture.ts'
import type { Fleet } from '../fleet/index.ts'
import type { Ingest } from '../ingest/index.ts'
import { IMPORT_ROOM, ImportAdmission } from './import-admission.ts'
import { batchesOf } from './import-batches.ts'
import { importEpoch, importedAgentId } from './import-ids.ts'
import { createImports } from './imports.ts'
import type { NewImport } from './index.ts'
import { createLogger, roomLog } from '../log.ts'

const DIGEST = 'ab'.repeat(32)
const RECORDING: NewImport = {
  fileName: 'attack.jsonl',
  fileSha256: DIGEST,
  readAs: 'auto',
  host: '',
  shiftMs: null,
  again: false,
}
const sysmon = (host: string, more: Readonly<Record<string, unknown>> = {}) =>
  JSON.stringify({
    EventID: 1,
    Channel: 'Microsoft-Windows-Sysmon/Operational',
    Hostname: host,
    UtcTime: '2020-06-10 02:51:04.728',
    Image: String.raw`C:\Windows\System32\whoami.exe`,
    CommandLine: 'whoami /all',
    User: String.raw`MORDOR\pedro`,
    ProcessId: '77',
    ...more,
  })
const LINES: readonly RecordingLine[] = [
  sysmon('WS6.mordor.local'),
  'this is no JSON',
  sysmon('DC1.mordor.local'),
  '',
  { bytes: 3_000_000 },
  sysmon('ws6.mordor.local', { EventID: 3, DestinationIp: '192.0.2.7', DestinationPort: '443' }),
]

let door: ApiUnderTest

beforeEach(async () => {
  door = await startApi()
})
afterEach(async () => await door.stop())

const imports = () => door.deps.imports
const rows = async () =>
  await door.state.db
    .selectFrom('ingest_batches')
    .select(['agent_id', 'epoch', 'class', 'first_seq', 'last_seq', 'count'])
    .orderBy('id')
    .execute()
const streams = async () => await door.state.db.selectFrom('streams').selectAll().execute()
const take = async (id: string, first: number, lines: readonly RecordingLine[]) => {
  const taken = await imports().take(id, first, lines)
  if (!taken.ok) throw new Error(`${taken.code}: ${taken.why}`)
  return taken.value
}

describe('a recording that is taken in', () => {
  it('becomes events of the hosts that it names, and every record is stored or refused with a reason', async () => {
    const { id } = await imports().begin(RECORDING, 'user:ann')
    const taken = await take(id, 1, LINES)
    expect(taken).toMatchObject({
      lines: 6,
      records: 5,
      storedRecords: 3,
      storedEvents: 3,
      refused: [
        { code: 'not_json', records: 1, examples: [{ line: 2 }] },
        { code: 'line_too_long', records: 1, examples: [{ line: 5, why: 'a line of 3000000 bytes' }] },
      ],
    })
    expect(taken.hosts.map(({ hostname, events }) => [hostname, events])).toEqual([
      ['WS6.mordor.local', 2],
      ['DC1.mordor.local', 1],
    ])
    const ws6 = importedAgentId('ws6.mordor.local')
    expect(await rows()).toEqual([
      { agent_id: ws6, epoch: importEpoch(DIGEST, '', ws6, 0), class: 'process', first_seq: 1, last_seq: 1, count: 1 },
      expect.objectContaining({ agent_id: importedAgentId('DC1.mordor.local'), class: 'process' }),
      expect.objectContaining({ agent_id: ws6, class: 'network', first_seq: 1 }),
    ])
    for (const stream of await streams()) expect(stream.produced).toBe(stream.stored + stream.spooled + stream.dropped)
    const done = await imports().complete(id, 6, 'user:ann')
    expect(done).toMatchObject({ ok: true, value: { state: 'complete' } })
    // Who got no answer says it again.
    expect(await imports().complete(id, 6, 'user:ann')).toEqual(done)
    const audited = await door.state.db.selectFrom('audit').select('action').orderBy('n').execute()
    expect(audited.map(({ action }) => action).filter((action) => !action.startsWith('access.'))).toEqual([
      'import.recording.begun',
      'fleet.host.imported',
      'fleet.host.imported',
      'import.recording.completed',
    ])
  })

  it('stores nothing twice when lines are sent again, and goes on where it stood', async () => {
    const { id } = await imports().begin(RECORDING, 'user:ann')
    await take(id, 1, LINES.slice(0, 3))
    const again = await imports().begin(RECORDING, 'user:bob')
    expect(again).toMatchObject({ id, lines: 3, state: 'running' })
    await take(id, 1, LINES.slice(0, 3))
    await take(id, 2, LINES.slice(1))
    const numbers = (await rows()).map(({ agent_id, class: name, first_seq, last_seq }) => [
      agent_id,
      name,
      first_seq,
      last_seq,
    ])
    expect(new Set(numbers.map(String)).size).toBe(3)
    expect(await imports().get(id)).toMatchObject({ lines: 6, storedEvents: 3, records: 5 })
    expect(await imports().take(id, 9, ['{}'])).toMatchObject({ ok: false, code: 'import_gap' })
    expect(await imports().complete(id, 7, 'user:ann')).toMatchObject({ ok: false, code: 'import_gap' })
  })

  it('stores nothing twice when two send the same lines at once, and lets both go on', async () => {
    const { id } = await imports().begin(RECORDING, 'user:ann')
    const both = await Promise.all([take(id, 1, LINES), take(id, 1, LINES.slice(0, 3))])
    expect(both.map(({ storedEvents }) => storedEvents)).toEqual([3, 3])
    expect((await rows()).reduce((sum, { count }) => sum + count, 0)).toBe(3)
  })

  it('stores nothing of lines that another controller took while they were read', async () => {
    const { id } = await imports().begin(RECORDING, 'user:ann')
    const other = createImports({ ...door.deps, log: roomLog(createLogger('silent')), ingest: door.ingest })
    const both = await Promise.allSettled([imports().take(id, 1, LINES), other.take(id, 1, LINES)])
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(both.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'import_moved' } })
    expect(await imports().get(id)).toMatchObject({ lines: 6, storedEvents: 3 })
    expect((await rows()).reduce((sum, { count }) => sum + count, 0)).toBe(3)
  })

  it('that is complete comes back as it is, and is taken in once more only when asked', async () => {
    const { id } = await imports().begin(RECORDING, 'user:ann')
    await take(id, 1, LINES)
    await imports().complete(id, 6, 'user:ann')
    expect(await imports().begin(RECORDING, 'user:ann')).toMatchObject({ id, state: 'complete' })
    expect(await imports().take(id, 7, ['{}'])).toMatchObject({ ok: false, code: 'import_over' })
    const second = await imports().begin({ ...RECORDING, again: true }, 'user:ann')
    expect(second).toMatchObject({ attempt: 1, lines: 0, state: 'running' })
    // Broken off and asked for again: that one goes on, a third does not begin.
    expect(await imports().begin({ ...RECORDING, again: true }, 'user:ann')).toMatchObject({ id: second.id })
    await take(second.id, 1, LINES)
    const epochs = new Set((await rows()).map(({ epoch }) => epoch))
    expect(epochs.size).toBe(4)
    const other = await imports().begin({ ...RECORDING, host: 'web-1' }, 'user:ann')
    expect(other.id).not.toBe(id)
  })

  it('leaves nothing behind of a request whose commit failed, and takes it whole the next time', async () => {
    const { id } = await imports().begin(RECORDING, 'user:ann')
    // The last thing that the transaction writes.
    await door.state.write(async (tx) => {
      await sql`create trigger full before update on imports when new.lines > 0 begin select raise(abort, 'disk full'); end`.execute(
        tx,
      )
    })
    await expect(imports().take(id, 1, LINES)).rejects.toThrow('disk full')
    expect(await rows()).toEqual([])
    expect(await streams()).toEqual([])
    expect(await door.state.db.selectFrom('hosts').select('agent_id').execute()).toEqual([])
    await door.state.write(async (tx) => {
      await sql`drop trigger full`.execute(tx)
    })
    expect(await take(id, 1, LINES)).toMatchObject({ storedEvents: 3 })
  })

  it('names no more than 1,024 hosts; the records of the others are counted as refused', async () => {
    const { id } = await imports().begin(RECORDING, 'user:ann')
    const known = Array.from({ length: 1_023 }, (_, n) => `host-${n}`)
    const hosts = Object.fromEntries(known.map((hostname) => [importedAgentId(hostname), { hostname, events: 1 }]))
    await door.state.write((tx) =>
      tx
        .updateTable('imports')
        .set({ hosts: JSON.stringify(hosts) })
        .execute(),
    )
    const after = await take(
      id,
      1,
      ['host-5', 'one-more', 'too-many', 'and-another', 'ONE-MORE'].map((host) => sysmon(host)),
    )
    expect(after.hosts).toHaveLength(1_024)
    expect(after).toMatchObject({
      records: 5,
      storedRecords: 3,
      refused: [{ code: 'too_many_hosts', records: 2, examples: [{ line: 3 }, { line: 4 }] }],
    })
  })

  it('counts every refused record and shows the first five of a reason', async () => {
    const { id } = await imports().begin(RECORDING, 'user:ann')
    const [refused] = (
      await take(
        id,
        1,
        Array.from({ length: 9 }, () => 'no JSON'),
      )
    ).refused
    expect(refused).toMatchObject({ code: 'not_json', records: 9 })
    expect(refused?.examples.map(({ line }) => line)).toEqual([1, 2, 3, 4, 5])
  })

  it('takes a record that tells no time as of now, and says so', async () => {
    const { id } = await imports().begin(RECORDING, 'user:ann')
    await take(id, 1, ['{"text":"x"}'])
    const { body } = await door.state.db.selectFrom('ingest_bodies').select('body').executeTakeFirstOrThrow()
    expect(JSON.parse(zstdDecompressSync(body).toString())).toMatchObject({
      '@timestamp': new Date(door.clock.now()).toISOString(),
      firebreak: { import: { time: 'import' } },
    })
  })

  it('makes hosts that nothing can be ordered to, with the reason', async () => {
    const { id } = await imports().begin(RECORDING, 'user:ann')
    await take(id, 1, LINES)
    const agentId = importedAgentId('WS6.mordor.local')
    const order = {
      agent_id: agentId,
      type: 'isolate-host',
      args: { hold_s: 3_600, on_controller_loss: 'hold' },
      reason: 'test',
    }
    const refused = await door.ask('admin', { method: 'POST', url: '/api/v1/commands', payload: order })
    expect(refused.statusCode).toBe(409)
    expect(refused.json()).toMatchObject({
      code: 'imported_host',
      detail: expect.stringContaining('imported from a recording'),
    })
    const host = await door.ask('viewer', { method: 'GET', url: `/api/v1/hosts/${agentId}` })
    expect(host.json()).toMatchObject({
      hostname: 'WS6.mordor.local',
      group: 'imported',
      connected: false,
      imported_at: expect.any(String),
    })
    // No agent can ever come under its id: there is no key.
    expect(await (door.deps.fleet as Fleet).admit(agentId)).toMatchObject({ ok: false, code: 'unknown_agent' })
    const row = await door.state.db
      .selectFrom('hosts')
      .select('public_key')
      .where('agent_id', '=', agentId)
      .executeTakeFirst()
    expect(row?.public_key).toBe(`imported:${agentId}`)
  })

  it('needs the right to import, and tells anybody who may read events how far it is', async () => {
    const begin = { method: 'POST', url: '/api/v1/imports', payload: { file_name: 'a', file_sha256: DIGEST } } as const
    for (const role of ['viewer', 'analyst', 'responder'] as const)
      expect((await door.ask(role, begin)).statusCode, role).toBe(403)
    const begun = await door.ask('engineer', begin)
    expect(begun.statusCode).toBe(200)
    const { id } = begun.json<{ id: string }>()
    const sent = await door.ask('engineer', {
      method: 'POST',
      url: `/api/v1/imports/${id}/lines`,
      payload: { first_line: 1, lines: [sysmon('h')] },
    })
    expect(sent.json()).toMatchObject({ lines: 1, stored_events: 1 })
    expect((await door.ask('viewer', { method: 'GET', url: `/api/v1/imports/${id}` })).json()).toMatchObject({
      lines: 1,
    })
    expect((await door.ask('viewer', { method: 'GET', url: '/api/v1/imports' })).json()).toMatchObject({
      items: [{ id }],
    })
    const tooMany = {
      method: 'POST',
      url: `/api/v1/imports/${id}/lines`,
      payload: { first_line: 2, lines: Array.from({ length: 1_001 }, () => '{}') },
    } as const
    expect((await door.ask('engineer', tooMany)).statusCode).toBe(400)
  })
})

describe('room for recordings', () => {
  it('is waited for before anything is stored; when there is none, or the controller stops, the caller is asked to come again', async () => {
    const { id } = await imports().begin(RECORDING, 'user:ann')
    const full = createImports({
      ...door.deps,
      log: roomLog(createLogger('silent')),
      ingest: { acceptTogether: async (...these) => await door.ingest.acceptTogether(...these), fullness: () => 1 },
    })
    const first = full.take(id, 1, LINES)
    for (let waited = 0; waited <= IMPORT_ROOM.patienceMs; waited += 1_000) await door.clock.advance(1_000)
    expect(await first).toMatchObject({ ok: false, code: 'not_ready' })
    const second = full.take(id, 1, LINES)
    await door.clock.advance(IMPORT_ROOM.lookMs)
    full.stop()
    expect(await second).toMatchObject({ ok: false, code: 'not_ready' })
    expect(await rows()).toEqual([])
  })

  it('is left to others: what one request brought is counted against the next', async () => {
    const { id } = await imports().begin(RECORDING, 'user:ann')
    await take(
      id,
      1,
      Array.from({ length: IMPORT_ROOM.undetected + 1 }, (_, n) => sysmon(`h${n}`)),
    )
    let isTaken = false
    const next = imports()
      .take(id, IMPORT_ROOM.undetected + 2, [sysmon('h')])
      .then((taken) => (isTaken = taken.ok))
    // Many times as long as it takes where there is room.
    await new Promise((resolve) => setTimeout(resolve, 400))
    expect(isTaken).toBe(false)
    await door.state.write((tx) => tx.updateTable('ingest_batches').set({ detected: 1 }).execute())
    await expect
      .poll(async () => {
        await door.clock.advance(IMPORT_ROOM.lookMs)
        return isTaken
      })
      .toBe(true)
    await next
  })

  const admission = (fullness: () => number) => {
    const ingest: Pick<Ingest, 'fullness'> = { fullness }
    return new ImportAdmission(door.state, ingest, door.clock)
  }

  it('is there while little waits, and asks to come again when agents fill the controller for long', async () => {
    let full = 0
    const rooms = admission(() => full)
    expect(await rooms.room()).toBe(true)
    full = 0.9
    const waiting = rooms.room()
    await door.clock.advance(IMPORT_ROOM.patienceMs - 100)
    full = 0
    await door.clock.advance(100)
    expect(await waiting).toBe(true)
    full = 0.9
    const refused = rooms.room()
    await door.clock.advance(IMPORT_ROOM.patienceMs + IMPORT_ROOM.lookMs)
    expect(await refused).toBe(false)
  })

  it('ends when so many of its own batches wait for the telemetry store that the disk would fill', async () => {
    const rooms = admission(() => 0)
    const { id } = await imports().begin(RECORDING, 'user:ann')
    const ids: number[] = []
    for (let n = 0; n <= IMPORT_ROOM.unstored; n += 64) {
      await take(
        id,
        n + 1,
        Array.from({ length: 64 }, (_, k) => sysmon(`h${n + k}`)),
      )
      const fresh = await door.state.db.selectFrom('ingest_batches').select('id').where('detected', '=', 0).execute()
      await door.state.write((tx) => tx.updateTable('ingest_batches').set({ detected: 1 }).execute())
      ids.push(...fresh.map((row) => row.id))
    }
    rooms.took(ids)
    let isThere = false
    const waiting = rooms.room().then((has) => (isThere = has))
    await door.clock.advance(IMPORT_ROOM.lookMs * 3)
    expect(isThere).toBe(false)
    await door.state.write((tx) => tx.updateTable('ingest_batches').set({ stored: 1 }).execute())
    await door.clock.advance(IMPORT_ROOM.lookMs)
    expect(await waiting).toBe(true)
  })

  it('ends when so many of its own batches wait for detection that an agent would notice', async () => {
    const rooms = admission(() => 0)
    const { id } = await imports().begin(RECORDING, 'user:ann')
    const ids: number[] = []
    for (let n = 0; n <= IMPORT_ROOM.undetected; n++) {
      await take(id, n + 1, [sysmon(`h${n}`)])
      const row = await door.state.db
        .selectFrom('ingest_batches')
        .select('id')
        .orderBy('id', 'desc')
        .limit(1)
        .executeTakeFirstOrThrow()
      ids.push(row.id)
    }
    rooms.took(ids)
    let isThere = false
    const waiting = rooms.room().then((has) => (isThere = has))
    await door.clock.advance(IMPORT_ROOM.lookMs * 3)
    expect(isThere).toBe(false)
    await door.state.write((tx) =>
      tx
        .updateTable('ingest_batches')
        .set({ detected: 1 })
        .where('id', '=', ids[0] ?? 0)
        .execute(),
    )
    await door.clock.advance(IMPORT_ROOM.lookMs)
    expect(await waiting).toBe(true)
  })
})

it('events of a recording come in batches that an agent could have sent, numbered without a hole', () => {
  const event = (n: number): RecordedEvent => ({
    host: 'web-1',
    line: n,
    records: 1,
    recordedMs: 0,
    event: {
      '@timestamp': '2020-06-10T02:51:04.728Z',
      event: { category: ['process'], type: ['start'], action: 'x', dataset: 'x' },
      // The larger ones come first: they are limited by bytes, the others by their number.
      message: 'x'.repeat(n < 30 ? 200_000 : 10),
    },
  })
  const events = Array.from({ length: WIRE.maxBatchEvents + 500 }, (_, n) => event(n))
  const headers = batchesOf(
    events,
    importedAgentId,
    () => 5,
    () => 'epoch',
  ).map(({ batch }) => batch.header)
  let next = 5
  for (const { first_seq, last_seq, count, body_bytes } of headers) {
    expect([first_seq, count]).toEqual([next, last_seq - first_seq + 1])
    expect(count).toBeLessThanOrEqual(WIRE.maxBatchEvents)
    expect(body_bytes).toBeLessThanOrEqual(WIRE.maxBatchBytes)
    next = last_seq + 1
  }
  expect(next - 5).toBe(events.length)
  expect(headers.some(({ count }) => count === WIRE.maxBatchEvents)).toBe(true)
})

it('an imported host has another id than any agent', () => {
  expect(importedAgentId('web-1')).toMatch(/^[a-z2-7]{26}$/)
  expect(importedAgentId('WEB-1')).toBe(importedAgentId('web-1'))
  expect(importedAgentId('web-1')).not.toBe(AGENT)
})
