/** Look-ups over 20 million events: where a hash ran, who talked to an address, a word of a command line, a tree of processes. */
import { randomInt } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openTelemetryStore } from '@firebreak/controller/src/store/telemetry/chdb-store.ts'
import { Conditions } from '@firebreak/controller/src/store/telemetry/conditions.ts'
import { EVENTS } from '@firebreak/controller/src/store/telemetry/event-table.ts'
import { lookUp } from '@firebreak/controller/src/search/sightings.ts'
import type { TelemetryStore } from '@firebreak/controller/src/store/telemetry/telemetry-store.ts'
import { processEvent } from '../fleet/simulated-events.ts'
import { type Bench, percentile } from './bench.ts'
import { DAYS, HOSTS, VALUES } from './search-events.ts'
import { fillDays } from './search-fill.ts'

const TREE_LEVELS = 4
const TREE_LIMIT = 500

export const searchBench: Bench = {
  name: 'search',
  describe: 'look-ups of a hash, an address, a word and a process tree over 20 million stored events',
  async run({ short, say }) {
    const total = short ? 560_000 : 20_160_000
    const rounds = short ? 12 : 60
    // Filling takes minutes: a folder that is named is kept, and filled no further than it has to be.
    const kept = process.env['FIREBREAK_BENCH_SEARCH_DIR']
    const dir = kept ?? mkdtempSync(join(tmpdir(), 'fb-bench-search-'))
    try {
      const insertEmpty = await costInEmpty()
      // Makes the tables.
      await (await openTelemetryStore(dir)).close()
      const made = await fillDays(dir, total, say)
      const store = await openTelemetryStore(dir)
      try {
        const stats = await store.stats()
        const times: Record<string, number> = {}
        for (const [name, look] of Object.entries(lookups(store, total))) {
          const ms: number[] = []
          let found = 0
          for (let i = 0; i < rounds; i++) {
            const started = performance.now()
            found += await look()
            ms.push(performance.now() - started)
          }
          if (found === 0) throw new Error(`${name} found nothing: the figure would mean nothing`)
          times[`${name}_p50_ms`] = percentile(ms, 0.5)
          times[`${name}_p95_ms`] = percentile(ms, 0.95)
          say(
            `${name}: p50 ${percentile(ms, 0.5).toFixed(1)} ms, p95 ${percentile(ms, 0.95).toFixed(1)} ms, ${found} found in ${rounds} look-ups`,
          )
        }
        const insertFull = await insertCost(store, 'full')
        return {
          metrics: {
            events: stats.events,
            hosts: HOSTS,
            days: DAYS,
            bytes_per_event: stats.bytes / stats.events,
            parts: stats.parts,
            filled_per_s: made,
            ...times,
            insert_empty_us_per_event: insertEmpty,
            insert_full_us_per_event: insertFull,
          },
          ratios: { insert_full_to_empty: insertFull / insertEmpty },
        }
      } finally {
        await store.close()
      }
    } finally {
      if (kept === undefined) rmSync(dir, { recursive: true, force: true })
    }
  },
}

/** Each finds something that is there, another each time, and returns how many events it found. */
function lookups(store: TelemetryStore, total: number): Record<string, () => Promise<number>> {
  const valueOf = async (name: keyof typeof VALUES, of: (n: number) => boolean) => {
    let n = randomInt(total)
    while (!of(n)) n = randomInt(total)
    const answer = await store.select<{ value: string }>({
      sql: `select ${VALUES[name]('number')} as value from numbers({n:UInt64}, 1)`,
      params: { n },
    })
    return answer.ok ? (answer.value[0]?.value ?? '') : ''
  }
  const isProcess = (n: number) => n % 20 < 9
  const prepared =
    (name: keyof typeof VALUES, of: (n: number) => boolean, write: (conditions: Conditions, value: string) => string) =>
    async () => {
      const conditions = new Conditions()
      const where = conditions.statement(write(conditions, await valueOf(name, of)))
      const found = await store.find({ where, order: 'newest', limit: 100 })
      if (!found.ok) throw new Error(found.why)
      return found.value.length
    }
  return {
    hash: prepared('hash', isProcess, (c, value) => c.equals('process.hash.sha256', value)),
    address: prepared(
      'address',
      (n) => n % 20 >= 9 && n % 20 < 14,
      (c, value) => c.equals('destination.ip', value),
    ),
    word: prepared('word', isProcess, (c, value) => c.words(value)),
    part_of_a_word: prepared('word', isProcess, (c, value) => c.like('process.command_line', `*${value.slice(1)}*`)),
    tree: async () => await tree(store, await valueOf('entity', isProcess)),
    seen_on_hosts: async () => {
      const found = await lookUp(store, await valueOf('hash', isProcess), {}, undefined)
      if (!found.ok) throw new Error(found.why)
      return found.value.hosts.length
    },
    seen: async () => (await store.seen('hash', await valueOf('hash', isProcess)))?.events ?? 0,
  }
}

/** A process, its parent, and what it started, level by level. */
async function tree(store: TelemetryStore, entity: string): Promise<number> {
  const row = 'process_entity_id as entity, process_parent_entity_id as parent'
  const ask = async (write: (conditions: Conditions) => string) => {
    const conditions = new Conditions()
    const statement = conditions.statement(
      `select ${row} from ${EVENTS} where class = 'process' and ${write(conditions)} limit ${TREE_LIMIT}`,
    )
    const answer = await store.select<{ entity: string; parent: string }>(statement)
    if (!answer.ok) throw new Error(answer.why)
    return answer.value
  }
  const found = await ask((c) => c.equals('process.entity_id', entity))
  const all = new Set(found.map((one) => one.entity))
  const up = found.map((one) => one.parent)
  if (up.length > 0) for (const one of await ask((c) => c.anyOf('process.entity_id', up))) all.add(one.entity)
  let level = [entity]
  for (let depth = 0; depth < TREE_LEVELS && level.length > 0; depth++) {
    const asked = level
    level = (await ask((c) => c.anyOf('process.parent.entity_id', asked)))
      .map((one) => one.entity)
      .filter((one) => !all.has(one))
    for (const one of level) all.add(one)
  }
  return all.size
}

async function costInEmpty(): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'fb-bench-search-empty-'))
  const store = await openTelemetryStore(dir)
  try {
    return await insertCost(store, 'empty')
  } finally {
    await store.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Wall time of storing an event, durably, in blocks of 10,000. */
async function insertCost(store: TelemetryStore, name: string): Promise<number> {
  const block = 10_000
  const epoch = '01a20d6d-5b90-7c9b-8378-2e328fd2af16'
  const us: number[] = []
  for (let i = 0; i < 6; i++) {
    const events = Array.from({ length: block }, (_, n) => ({
      agentId: `${String(n % 50).padStart(6, 'a')}${'i'.repeat(20)}`,
      epoch,
      class: 'process',
      seq: i * block + n,
      ingestedAt: new Date().toISOString(),
      json: Buffer.from(JSON.stringify(processEvent(i * block + n, `host-${n % 50}`))),
    }))
    const started = performance.now()
    await store.insert(`${name}-${i}`, events)
    us.push(((performance.now() - started) * 1_000) / block)
  }
  return percentile(us.slice(1), 0.5)
}
