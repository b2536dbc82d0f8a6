/** What is told of an isolation and of its end, in the words of the receipt. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Failure } from '@firebreak/shared/commands/command.ts'
import type { IsolationEvidence, Probe } from '@firebreak/shared/commands/isolate-host.ts'
import { textOf } from './controller-address.ts'
import type { IsolationRecord } from './state.ts'

const MAX_WHY = 2_048
const MAX_CONTROLLERS = 64

/** The evidence of both command types is one schema, so this fits either. */
export interface NotProved {
  readonly state: 'failed' | 'refuted'
  readonly code: Failure
  readonly why: string
  readonly evidence: IsolationEvidence | undefined
}

export function failed(code: Failure, why: string, evidence?: IsolationEvidence): NotProved {
  return { state: 'failed', code, why: why.slice(0, MAX_WHY), evidence }
}

export function refuted(why: string, evidence: IsolationEvidence): NotProved {
  return { state: 'refuted', code: 'effect_refuted', why: why.slice(0, MAX_WHY), evidence }
}

export function recordEvidence(record: IsolationRecord): IsolationEvidence {
  const { before_sha256, table_sha256, confirmed_ms, applied_ms, sockets_closed } = record
  return {
    ruleset_before_sha256: before_sha256,
    controllers: record.controllers.map(textOf).slice(0, MAX_CONTROLLERS),
    ...(table_sha256 === undefined ? {} : { table_sha256 }),
    ...(confirmed_ms === undefined ? {} : { confirmed_ms }),
    ...(applied_ms === undefined ? {} : { applied_ms }),
    ...(sockets_closed === undefined ? {} : { sockets_closed }),
  }
}

/** The rules as they are now against those before; `record` is undefined on a host that was not isolated. */
export function comparedWithBefore(record: IsolationRecord | undefined, now: string): IsolationEvidence {
  const digest = sha256(now)
  if (!record) return { ruleset_after_sha256: digest }
  return {
    ruleset_before_sha256: record.before_sha256,
    ruleset_after_sha256: digest,
    ruleset_restored: digest === record.before_sha256,
  }
}

/** `othersBefore`: the rules of others just before the release; `now`: all rules after it. */
export function rulesetProbe(restored: boolean | undefined, othersBefore: string, now: string): Probe {
  const common = { name: 'ruleset', target: 'nft -s list ruleset', expected: 'open', found: 'open' } as const
  if (restored === undefined) return { ...common, detail: 'the host was not isolated; no table of ours is there' }
  if (restored) return { ...common, detail: 'byte for byte the one before the isolation' }
  if (othersBefore === now) {
    return { ...common, detail: 'others changed their rules during the isolation; exactly our table was taken away' }
  }
  return { ...common, detail: 'others changed their rules during the release; our table is gone' }
}

/** Whether a listing of our table is the one that was put in force. */
export function isTable(record: IsolationRecord, table: string | undefined): boolean {
  return table !== undefined && sha256(table) === record.table_sha256
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Compared in a time that does not depend on how much of it is right; `digest` is hexadecimal. */
export function hasSha256(text: string, digest: string): boolean {
  const expected = Buffer.from(digest, 'hex')
  const found = createHash('sha256').update(text).digest()
  return expected.length === found.length && timingSafeEqual(found, expected)
}
