/**
 * What must be in force, on disk. Every write is durable before it returns (written, fsynced, renamed, folder fsynced), so after a
 * power cut the file is the old one or the new one. Three files of the state folder:
 * - `isolation.json`: the desired state (below). Its modification time is when the rules were last seen intact.
 * - `isolation.nft`: there exactly while the host must be isolated; loaded by the boot unit before the network comes up.
 *   Its first line holds the record, so that the loss of `isolation.json` does not lose the lease.
 * - `isolation.before.nft`: `nft -s list ruleset` as it was before.
 */
import { existsSync, rmSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { IsolationEvidence } from '@firebreak/shared/commands/isolate-host.ts'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { flushFolder, makePrivateFolder, readIfThere, writeAtomic } from '../../disk/atomic-file.ts'

const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' })
const closed = { additionalProperties: false } as const

export const Target = Type.Object(
  {
    name: Type.Enum(['tcp-new', 'udp', 'icmp', 'dns', 'ipv6']),
    ip: Type.String({ maxLength: 64 }),
    port: Type.Integer({ minimum: 0, maximum: 65_535 }),
    reachable_before: Type.Boolean({ description: 'A connection to it was open before the isolation.' }),
  },
  closed,
)
export type Target = Type.Static<typeof Target>

/** Why an isolation ended: by order, because its hold was over, or by somebody on the host. */
export const END_CAUSES = ['ordered', 'lapsed', 'overridden'] as const
export type EndCause = (typeof END_CAUSES)[number]

const Ending = Type.Object(
  { cause: Type.Enum([...END_CAUSES]), why: Type.String(), release_cmd_id: Type.Optional(Type.String()) },
  closed,
)
export type Ending = Type.Static<typeof Ending>

export const IsolationRecord = Type.Object(
  {
    cmd_id: Type.String({ maxLength: 64 }),
    controllers: Type.Array(
      Type.Object(
        {
          family: Type.Union([Type.Literal(4), Type.Literal(6)]),
          ip: Type.String({ maxLength: 64 }),
          port: Type.Integer({ minimum: 1, maximum: 65_535 }),
          link: Type.Optional(Type.String({ maxLength: 15 })),
        },
        closed,
      ),
    ),
    hold: Type.Object(
      {
        boot_id: Type.String({ maxLength: 64 }),
        until_boot_ms: Type.Number(),
        until_wall_ms: Type.Number(),
        most_ms: Type.Number({ minimum: 0 }),
      },
      closed,
    ),
    on_controller_loss: Type.Enum(['hold', 'release']),
    release_code_sha256: Type.Union([Sha256, Type.Null()]),
    ruleset: Type.String({ description: 'The transaction that puts the rules in force.' }),
    before_sha256: Sha256,
    table_sha256: Type.Optional(Sha256),
    targets: Type.Array(Target, { maxItems: 32 }),
    confirmed_ms: Type.Optional(Type.Number()),
    applied_ms: Type.Optional(Type.Number()),
    sockets_closed: Type.Optional(Type.Integer()),
    ending: Type.Optional(Ending),
  },
  closed,
)
export type IsolationRecord = Type.Static<typeof IsolationRecord>

/** An isolation that is over. */
const Ended = Type.Object(
  {
    cmd_id: Type.String({ maxLength: 64 }),
    cause: Type.Enum([...END_CAUSES, 'rolled_back']),
    why: Type.String(),
    release_cmd_id: Type.Optional(Type.String()),
    evidence: IsolationEvidence,
    reported: Type.Boolean({ description: 'Whether the receipts of the agent have it.' }),
  },
  closed,
)
export type Ended = Type.Static<typeof Ended>

export const PHASES = ['none', 'applying', 'isolated', 'releasing'] as const
export type Phase = (typeof PHASES)[number]

export const IsolationState = Type.Object(
  {
    v: Type.Literal(1),
    phase: Type.Enum([...PHASES]),
    record: Type.Optional(IsolationRecord),
    ended: Type.Array(Ended, { maxItems: 8, description: 'The last ones, newest last.' }),
  },
  closed,
)
export type IsolationState = Type.Static<typeof IsolationState>
const stateSchema = Compile(IsolationState)

export const STATE_FILE = 'isolation.json'
export const BOOT_FILE = 'isolation.nft'
export const BEFORE_FILE = 'isolation.before.nft'
const HEADER = '# firebreak isolation: '

export class IsolationStore {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Throws `state_unreadable` when there is a state and it cannot be understood: then nothing may be concluded. */
  read(): IsolationState {
    const text = this.#text(STATE_FILE)
    if (text !== undefined) return parseState(text)
    const boot = this.#text(BOOT_FILE)
    return boot === undefined ? { v: 1, phase: 'none', ended: [] } : recovered(boot)
  }

  write(state: IsolationState): void {
    this.#replace(STATE_FILE, `${JSON.stringify(state)}\n`)
  }

  /** Whether the folder takes a durable write; says why not. */
  unwritable(): string | undefined {
    const probe = join(this.#folder, 'isolation.probe')
    try {
      this.#replace('isolation.probe', '')
      rmSync(probe, { force: true })
      return undefined
    } catch (error) {
      return reasonOf(error)
    }
  }

  saveBefore(ruleset: string): void {
    this.#replace(BEFORE_FILE, ruleset)
  }

  hasBootFile(): boolean {
    return existsSync(join(this.#folder, BOOT_FILE))
  }

  writeBootFile(record: IsolationRecord): void {
    const { ruleset, ...rest } = record
    const text = `${HEADER}${JSON.stringify(rest)}\n${ruleset}`
    if (this.#text(BOOT_FILE) !== text) this.#replace(BOOT_FILE, text)
  }

  removeBootFile(): void {
    rmSync(join(this.#folder, BOOT_FILE), { force: true })
    flushFolder(this.#folder)
  }

  /** Nothing to put in force any more, for a disk that takes no new file. The earlier state until the last name is gone. */
  clear(): void {
    this.removeBootFile()
    rmSync(join(this.#folder, STATE_FILE), { force: true })
    flushFolder(this.#folder)
  }

  /** Notes, without waiting for the disk, that the rules were intact at this wall time. */
  seenIntact(wallMs: number): void {
    utimesSync(join(this.#folder, STATE_FILE), wallMs / 1000, wallMs / 1000)
  }

  lastSeenIntactMs(): number {
    return statSync(join(this.#folder, STATE_FILE), { throwIfNoEntry: false })?.mtimeMs ?? 0
  }

  #text(name: string): string | undefined {
    return readIfThere(join(this.#folder, name))?.toString('utf8')
  }

  #replace(name: string, text: string): void {
    makePrivateFolder(this.#folder)
    writeAtomic(join(this.#folder, name), text)
  }
}

function parseState(text: string): IsolationState {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new Fault('state_unreadable', `${STATE_FILE} is not JSON`, { cause: error })
  }
  if (!stateSchema.Check(value) || (value.phase === 'none') !== (value.record === undefined)) {
    throw new Fault('state_unreadable', `${STATE_FILE} is not an isolation state`)
  }
  return value
}

function recovered(boot: string): IsolationState {
  const end = boot.indexOf('\n')
  if (!boot.startsWith(HEADER)) throw new Fault('state_unreadable', `${BOOT_FILE} has no record`)
  const record = `${boot.slice(HEADER.length, end - 1)},"ruleset":${JSON.stringify(boot.slice(end + 1))}}`
  return parseState(`{"v":1,"phase":"isolated","record":${record},"ended":[]}`)
}
