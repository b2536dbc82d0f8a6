/**
 * The tables of ClickHouse, in the process and on a cluster: the same text for both.
 *
 * `events`: a partition is the day of arrival, by the controller's clock, and the class: a host that claims to live in 1970 and 2262
 * cannot make a thousand partitions, and what has expired goes by dropping partitions, which needs no free space. Order by host and
 * time. Columns are computed from the text when an event is stored; a column that is added later is computed for older events when
 * they are read, from the same text.
 *
 * `seen`: first and last time, hosts and number of events of each hash, address, domain and program, kept by the engine as events come
 * in, so that "have we ever seen this" costs a few milliseconds over months and outlives the events.
 */
import { MiB } from '@firebreak/shared/wire/units.ts'
import {
  columnOf,
  EVENT_COLUMNS,
  eventColumn,
  type EventColumnName,
  LOOKUP_FIELDS,
  tupleType,
  WORD_FIELDS,
} from './event-columns.ts'

export const DATABASE = 'firebreak'
export const EVENTS = `${DATABASE}.events`
export const SEEN = `${DATABASE}.seen`

/** Blocks whose tokens are remembered: many more than can be on the way when a controller dies. */
const TOKEN_WINDOW = 10_000

/**
 * Below it, uncompressed, a part is one file for all columns: with a file a column, a block of 10,000 events costs 90 files to make and
 * to flush, and the memory of 90 buffers (measured: 40 against 12 µs an event). Only merged parts are larger.
 */
const WIDE_FROM_BYTES = 128 * MiB

/**
 * Events that are read to find one in a merged part: each of a page's hundred hits costs so many texts to unpack. A block that comes in
 * keeps the engine's 8,192, because each granule of it costs the 90 columns once more (measured: 21 µs an event with 8,192, 29 with
 * 1,024). Column by column ("vertical") merges alone make granules as large as their blocks are; where the parts hold a few busy hosts
 * whose times follow each other, whole granules pass through, and stay as large as they were.
 */
const MERGED_GRANULE_EVENTS = 1_024
const VERTICAL_FROM_EVENTS = 16_384

/** What may be changed of a table that is there already; what was merged before stays as it is, and works. */
const EVENT_SETTINGS = `min_bytes_for_wide_part = ${WIDE_FROM_BYTES}, merge_max_block_size = ${MERGED_GRANULE_EVENTS},
    vertical_merge_algorithm_min_rows_to_activate = ${VERTICAL_FROM_EVENTS}`

/** Parts of one partition past which the engine holds inserts back, and past which it refuses them (its own defaults). */
export const PARTS_TO_DELAY = 1_000

/** The text in which words are looked for, in lower case; the index `words` is over exactly this expression. */
export const WORDS = `lowerUTF8(concatWithSeparator('\\n', ${WORD_FIELDS.map((field) => columnOf(field as EventColumnName)).join(', ')}))`

/** All values that are looked up whole; the index `lookups` is over exactly this expression. */
export const LOOKUPS = lookups()

function lookups(): string {
  const fields = LOOKUP_FIELDS as EventColumnName[]
  const single = fields.filter((field) => eventColumn(field).type === 'String').map(columnOf)
  const lists = fields.filter((field) => eventColumn(field).type !== 'String').map(columnOf)
  return `arrayConcat([${single.join(', ')}], ${lists.join(', ')})`
}

/** What `seen` keeps: the word for it → where it is found. */
export const SEEN_KINDS = {
  hash: ['process.hash.sha256', 'file.hash.sha256', 'dll.hash.sha256', 'process.hash.md5', 'process.hash.sha1'],
  address: ['source.ip', 'destination.ip'],
  domain: ['destination.domain', 'dns.question.name'],
  executable: ['process.executable'],
} as const satisfies Record<string, readonly EventColumnName[]>
export type SeenKind = keyof typeof SEEN_KINDS

/** In the order in which they have to be made. Each may run again. */
export function definitions(): readonly string[] {
  const later = `alter table ${EVENTS} modify setting ${EVENT_SETTINGS}`
  return [`create database if not exists ${DATABASE}`, eventsTable(), later, seenTable(), seenView()]
}

/** `name`, `more`: for a table beside it that is filled and attached, as benchmarks do. */
export function eventsTable(name: string = EVENTS, more = ''): string {
  const columns = (Object.keys(EVENT_COLUMNS) as EventColumnName[]).map((field) => {
    const { type, lower, codec } = eventColumn(field)
    const member = field.split('.').reduce((at, part) => `tupleElement(${at}, '${part}')`, 'ecs')
    return `${columnOf(field)} ${type} materialized ${lower ? `lower(${member})` : member} codec(${codec ?? 'ZSTD(1)'})`
  })
  const tuple = tupleType()
  return `create table if not exists ${name} (
    agent_id LowCardinality(String) codec(ZSTD(1)),
    epoch UUID codec(ZSTD(1)),
    class LowCardinality(String) codec(ZSTD(1)),
    seq UInt64 codec(Delta, ZSTD(1)),
    ingested DateTime64(3, 'UTC') codec(Delta, ZSTD(1)),
    raw String codec(ZSTD(1)),
    ecs ${tuple} ephemeral JSONExtract(raw, '${tuple}'),
    time DateTime64(3, 'UTC') materialized parseDateTime64BestEffortOrZero(tupleElement(ecs, '@timestamp'), 3, 'UTC') codec(DoubleDelta, ZSTD(1)),
    ${columns.join(',\n    ')},
    index by_time time type minmax granularity 1,
    index lookups ${LOOKUPS} type text(tokenizer = array),
    index words ${WORDS} type text(tokenizer = splitByNonAlpha)
  ) engine = MergeTree
  partition by (toYYYYMMDD(ingested), class)
  order by (agent_id, time)
  settings non_replicated_deduplication_window = ${TOKEN_WINDOW}, fsync_after_insert = 1, fsync_part_directory = 1,
    ${EVENT_SETTINGS}${more}`
}

function seenTable(): string {
  return `create table if not exists ${SEEN} (
    kind LowCardinality(String),
    value String codec(ZSTD(1)),
    first SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    last SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    events SimpleAggregateFunction(sum, UInt64),
    hosts AggregateFunction(uniq, String)
  ) engine = AggregatingMergeTree
  order by (kind, value)
  settings non_replicated_deduplication_window = ${TOKEN_WINDOW}, fsync_after_insert = 1, fsync_part_directory = 1`
}

function seenView(): string {
  return `create materialized view if not exists ${DATABASE}.seen_view to ${SEEN} as ${seenIn(EVENTS)}`
}

/** What `seen` keeps of the events of a table. */
export function seenIn(table: string): string {
  const kinds = Object.entries(SEEN_KINDS).flatMap(([kind, fields]) =>
    fields.map((field) => `('${kind}', toString(${columnOf(field)}))`),
  )
  return `select tupleElement(item, 1) as kind, tupleElement(item, 2) as value, min(time) as first, max(time) as last,
    count() as events, uniqState(toString(agent_id)) as hosts
  from ${table} array join arrayDistinct(arrayFilter(x -> x.2 != '', [${kinds.join(', ')}])) as item
  group by kind, value`
}
