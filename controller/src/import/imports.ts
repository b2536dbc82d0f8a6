/**
 * The room: lines of a recording in, events of its hosts out, through the door that the batches of agents come through. How far it has
 * come is written in the transaction that makes the events durable, so that after any crash the next line is the one after it.
 */
import type { Clock } from '@firebreak/shared/clock.ts'
import { type AgentId, isUuid, uuidv7 } from '@firebreak/shared/ids.ts'
import { Fault, ok, refuse, type Result } from '@firebreak/shared/result.ts'
import {
  type ReadAs,
  type ReadLines,
  type RecordedEvent,
  RecordingReader,
  type RecordingLine,
  type RefusedRecord,
  RECORD_REFUSALS,
} from '@firebreak/shared/recordings/recording.ts'
import type { Selectable } from 'kysely'
import type { Audit } from '../audit/index.ts'
import type { Ingest } from '../ingest/index.ts'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import { ImportAdmission } from './import-admission.ts'
import { batchesOf, type ImportBatch } from './import-batches.ts'
import { importEpoch, importedAgentId } from './import-ids.ts'
import { addImportedHosts } from './imported-hosts.ts'
import type { ImportRefusal, Imports, ImportView, NewImport, RefusedCount } from './index.ts'
import type { ImportLog } from './log-names.ts'

export interface ImportsDeps {
  readonly state: StateStore
  readonly ingest: Pick<Ingest, 'acceptTogether' | 'fullness'>
  readonly audit: Audit
  readonly bus: Bus
  readonly clock: Clock
  readonly log: ImportLog
}

/** Lines are read in slices, so that sockets and timers are served meanwhile. */
const LINES_PER_SLICE = 50
const MAX_EXAMPLES = 5
const MAX_HOSTS = 1_024

type ImportRow = Selectable<Tables['imports']>
type RefusedTable = Record<string, { count: number; examples: { line: number; why: string }[] }>
type HostTable = Record<string, { hostname: string; events: number }>

export function createImports(deps: ImportsDeps): Imports {
  return new StoredImports(deps)
}

class StoredImports implements Imports {
  readonly #deps: ImportsDeps
  readonly #admission: ImportAdmission
  /** One recording at a time: all of them together are given the room of one. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(deps: ImportsDeps) {
    this.#deps = deps
    this.#admission = new ImportAdmission(deps.state, deps.ingest, deps.clock)
  }

  async begin(wanted: NewImport, actor: string): Promise<ImportView> {
    const { state, audit, clock } = this.#deps
    return await state.write(async (tx) => {
      const last = await tx
        .selectFrom('imports')
        .selectAll()
        .where('file_sha256', '=', wanted.fileSha256)
        .where('host', '=', wanted.host)
        .orderBy('attempt', 'desc')
        .limit(1)
        .executeTakeFirst()
      if (last !== undefined && (last.state === 'running' || !wanted.again)) return viewOf(last)
      const at = new Date(clock.now()).toISOString()
      const row: ImportRow = {
        id: uuidv7(clock.now()),
        file_sha256: wanted.fileSha256,
        file_name: wanted.fileName,
        read_as: wanted.readAs,
        host: wanted.host,
        attempt: last === undefined ? 0 : last.attempt + 1,
        shift_ms: wanted.shiftMs,
        state: 'running',
        lines: 0,
        records: 0,
        stored_records: 0,
        stored_events: 0,
        refused: '{}',
        hosts: '{}',
        created_by: actor,
        created_at: at,
        updated_at: at,
        ended_at: null,
      }
      await tx.insertInto('imports').values(row).execute()
      await audit.append(tx, {
        actor,
        action: 'import.recording.begun',
        objectType: 'import',
        objectId: row.id,
        detail: {
          file: row.file_name,
          file_sha256: row.file_sha256,
          attempt: row.attempt,
          ...(row.host === '' ? {} : { host: row.host }),
          ...(row.shift_ms === null ? {} : { shift_ms: row.shift_ms }),
        },
      })
      return viewOf(row)
    })
  }

  async take(
    id: string,
    firstLine: number,
    lines: readonly RecordingLine[],
  ): Promise<Result<ImportView, ImportRefusal>> {
    const turn = this.#turn.then(async () => await this.#take(id, firstLine, lines))
    this.#turn = turn.catch(() => undefined) // whoever asked is told; the next one has its turn
    return await turn
  }

  async complete(id: string, lines: number, actor: string): Promise<Result<ImportView, ImportRefusal>> {
    const { state, audit, clock, log } = this.#deps
    const done = await state.write(async (tx): Promise<Result<ImportView, ImportRefusal>> => {
      const row = await find(tx, id)
      if (row === undefined) return notFound(id)
      if (row.state === 'complete') return ok(viewOf(row))
      if (row.lines !== lines) return refuse('import_gap', `${row.lines} lines were taken, and not ${lines}`)
      const at = new Date(clock.now()).toISOString()
      const ended = { state: 'complete', updated_at: at, ended_at: at } as const
      await tx.updateTable('imports').set(ended).where('id', '=', id).execute()
      const view = viewOf({ ...row, ...ended })
      await audit.append(tx, {
        actor,
        action: 'import.recording.completed',
        objectType: 'import',
        objectId: id,
        detail: {
          file: row.file_name,
          records: view.records,
          stored: view.storedRecords,
          events: view.storedEvents,
          refused: Object.fromEntries(view.refused.map(({ code, records }) => [code, records])),
          hosts: view.hosts.length,
        },
      })
      return ok(view)
    })
    if (done.ok) log.info('import.recording.completed', { import_id: id, records: done.value.records })
    return done
  }

  async get(id: string): Promise<ImportView | undefined> {
    const row = await find(this.#deps.state.db, id)
    return row && viewOf(row)
  }

  async list(limit: number): Promise<readonly ImportView[]> {
    const rows = await this.#deps.state.db
      .selectFrom('imports')
      .selectAll()
      .orderBy('id', 'desc')
      .limit(limit)
      .execute()
    return rows.map(viewOf)
  }

  stop(): void {
    this.#admission.stop()
  }

  async #take(
    id: string,
    firstLine: number,
    lines: readonly RecordingLine[],
  ): Promise<Result<ImportView, ImportRefusal>> {
    const row = await find(this.#deps.state.db, id)
    if (row === undefined) return notFound(id)
    if (row.state === 'complete') return refuse('import_over', `${row.file_name} was taken in to its end`)
    if (firstLine > row.lines + 1)
      return refuse('import_gap', `line ${row.lines + 1} comes next, and these begin at ${firstLine}`)
    const fresh = lines.slice(row.lines + 1 - firstLine)
    if (fresh.length === 0) return ok(viewOf(row))
    if (!(await this.#admission.room()))
      return refuse('not_ready', 'too much waits for detection or the telemetry store; ask again')
    const read = withinHosts(await this.#read(row, fresh), hostsOf(row))
    return await this.#store(row, fresh.length, read)
  }

  async #read(row: ImportRow, lines: readonly RecordingLine[]): Promise<ReadLines> {
    const reader = new RecordingReader({
      readAs: row.read_as as ReadAs,
      fileSha256: row.file_sha256,
      defaultHost: hostNameOfFile(row.file_name),
      host: row.host === '' ? undefined : row.host,
      shiftMs: row.shift_ms ?? undefined,
      nowMs: this.#deps.clock.now(),
    })
    for (const [at, line] of lines.entries()) {
      if (at > 0 && at % LINES_PER_SLICE === 0) await new Promise((resolve) => setImmediate(resolve))
      reader.push(line, row.lines + 1 + at)
    }
    reader.end()
    return reader.take()
  }

  async #store(row: ImportRow, lineCount: number, read: ReadLines): Promise<Result<ImportView, ImportRefusal>> {
    const { state, ingest, audit, bus, clock } = this.#deps
    const numbers = await state.db
      .selectFrom('import_streams')
      .select(['agent_id', 'class', 'seq'])
      .where('import_id', '=', row.id)
      .execute()
    const last = new Map(numbers.map(({ agent_id, class: name, seq }) => [`${agent_id} ${name}`, seq]))
    const batches = batchesOf(
      read.events,
      importedAgentId,
      (stream) => (last.get(`${stream.agentId} ${stream.class}`) ?? 0) + 1,
      (agentId) => importEpoch(row.file_sha256, row.host, agentId, row.attempt),
    )
    const after = progressed(row, lineCount, read, new Date(clock.now()).toISOString())
    let added: readonly AgentId[] = []
    const waiting = await ingest.acceptTogether(batches, {
      before: async (tx) => {
        const now = await find(tx, row.id)
        // Taken by somebody else meanwhile: what was read here is not the next line any more.
        if (now?.lines !== row.lines || now.state !== 'running')
          throw new Fault('import_moved', `${row.file_name} was taken further meanwhile`)
        added = await addImportedHosts(tx, audit, {
          events: read.events,
          importId: row.id,
          at: after.updated_at,
          actor: row.created_by,
        })
      },
      after: async (tx) => {
        await numberStreams(tx, row.id, batches)
        await tx.updateTable('imports').set(after).where('id', '=', row.id).execute()
      },
    })
    this.#admission.took(waiting)
    for (const agentId of added) bus.publish('host.changed', { agentId })
    return ok(viewOf({ ...row, ...after }))
  }
}

/** What a stream has produced is what was stored of it: nothing waits anywhere, and nothing was dropped. */
async function numberStreams(tx: Tx, importId: string, batches: readonly ImportBatch[]): Promise<void> {
  for (const { agentId, batch } of batches) {
    const { class: name, last_seq: seq, epoch } = batch.header
    await tx
      .insertInto('import_streams')
      .values({ import_id: importId, agent_id: agentId, class: name, seq })
      .onConflict((c) => c.columns(['import_id', 'agent_id', 'class']).doUpdateSet({ seq }))
      .execute()
    await tx
      .updateTable('streams')
      .set({ produced: seq })
      .where('agent_id', '=', agentId)
      .where('epoch', '=', epoch)
      .where('class', '=', name)
      .execute()
  }
}

function progressed(row: ImportRow, lineCount: number, read: ReadLines, at: string) {
  const refused = JSON.parse(row.refused) as RefusedTable
  for (const { code, line, why } of read.refused) {
    const known = (refused[code] ??= { count: 0, examples: [] })
    known.count++
    if (known.examples.length < MAX_EXAMPLES) known.examples.push({ line, why: why.slice(0, 256) })
  }
  const hosts = hostsOf(row)
  let stored = 0
  for (const { host, records } of read.events) {
    const known = (hosts[importedAgentId(host)] ??= { hostname: host, events: 0 })
    known.events++
    stored += records
  }
  return {
    lines: row.lines + lineCount,
    records: row.records + stored + read.refused.length,
    stored_records: row.stored_records + stored,
    stored_events: row.stored_events + read.events.length,
    refused: JSON.stringify(refused),
    hosts: JSON.stringify(hosts),
    updated_at: at,
  }
}

/** A file in which every record names another host is no recording of a fleet. */
function withinHosts(read: ReadLines, hosts: HostTable): ReadLines {
  const known = new Set(Object.keys(hosts))
  const kept: RecordedEvent[] = []
  const refused: RefusedRecord[] = [...read.refused]
  for (const event of read.events) {
    const agentId = importedAgentId(event.host)
    if (known.has(agentId) || known.size < MAX_HOSTS) {
      known.add(agentId)
      kept.push(event)
    } else
      for (let n = 0; n < event.records; n++)
        refused.push({
          line: event.line,
          code: 'too_many_hosts',
          why: `${event.host} is past the first ${MAX_HOSTS} hosts`,
        })
  }
  return { events: kept, refused }
}

/** For records that name no host: the file is what they have in common. */
export function hostNameOfFile(fileName: string): string {
  const name = (fileName.split('/').at(-1) ?? '').replace(/(\.(jsonl?|ndjson|log|txt|zst|gz|tar|tgz))+$/i, '')
  return `recording-${name.replaceAll(/[^A-Za-z0-9._-]+/g, '-').slice(0, 200)}`
}

function hostsOf(row: ImportRow): HostTable {
  return JSON.parse(row.hosts) as HostTable
}

async function find(db: Pick<Tx, 'selectFrom'>, id: string): Promise<ImportRow | undefined> {
  if (!isUuid(id)) return undefined
  return await db.selectFrom('imports').selectAll().where('id', '=', id).executeTakeFirst()
}

function notFound(id: string): Result<never, 'not_found'> {
  return refuse('not_found', `there is no import ${id}`)
}

function viewOf(row: ImportRow): ImportView {
  const refused = JSON.parse(row.refused) as RefusedTable
  return {
    id: row.id,
    fileName: row.file_name,
    fileSha256: row.file_sha256,
    readAs: row.read_as,
    host: row.host,
    attempt: row.attempt,
    shiftMs: row.shift_ms,
    state: row.state,
    lines: row.lines,
    records: row.records,
    storedRecords: row.stored_records,
    storedEvents: row.stored_events,
    refused: RECORD_REFUSALS.flatMap((code): RefusedCount[] => {
      const known = refused[code]
      return known === undefined ? [] : [{ code, records: known.count, examples: known.examples }]
    }),
    hosts: Object.entries(hostsOf(row)).map(([agentId, { hostname, events }]) => ({
      agentId: agentId as AgentId,
      hostname,
      events,
    })),
    createdBy: row.created_by,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    endedAt: row.ended_at,
  }
}
