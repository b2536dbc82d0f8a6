/**
 * The rules of the isolation as the kernel holds them: put in force, taken away, probed, and told. What they must be is the record's
 * to say; when they change is `isolation.ts`'s.
 */
import type { IsolationEvidence } from '@firebreak/shared/commands/isolate-host.ts'
import { ok, reasonOf, refuse, type Result } from '@firebreak/shared/result.ts'
import type { Effect } from '../action.ts'
import type { OpenAddress } from './controller-address.ts'
import type { DesiredState } from './desired-state.ts'
import { total } from './drift-guard.ts'
import { isTable, recordEvidence, refuted, sha256 } from './evidence.ts'
import type { IsolationParts } from './isolation-parts.ts'
import { leftMs } from './lease.ts'
import { probeIsolation, type ProbeParts } from './probes.ts'
import { isolationRuleset, withoutOurTable } from './ruleset.ts'
import type { IsolationRecord } from './state.ts'
import { isolationVerdict } from './verdict.ts'

const DELETE_TRIES = 3
/** Most probes in one receipt. */
export const MAX_PROBES = 32
/** How long a probe waits for the controller; right after a start the connection may still have to be made. */
export const PROBE_CONFIRM_MS = 2_500

type RulesParts = Pick<IsolationParts, 'platform' | 'link' | 'clock' | 'timing'>

export class RulesInForce {
  readonly #parts: RulesParts
  readonly #desired: DesiredState
  readonly #packetsBefore: () => number

  /** `packetsBefore`: dropped by tables that are gone since. */
  constructor(parts: RulesParts, desired: DesiredState, packetsBefore: () => number) {
    this.#parts = parts
    this.#desired = desired
    this.#packetsBefore = packetsBefore
  }

  rules(controllers: readonly OpenAddress[], lapseAfterS?: number): string {
    const dhcpServers = this.#parts.platform.network.dhcpServers()
    return isolationRuleset({ controllers, dhcpServers, agentUid: process.geteuid?.() ?? 0, lapseAfterS })
  }

  async prove(record: IsolationRecord, confirmMs = PROBE_CONFIRM_MS): Promise<Effect<'isolate-host'>> {
    const proof = await probeIsolation(record.targets, this.probeParts(confirmMs))
    const intact = isTable(record, await this.#parts.platform.firewall.table())
    const evidence = { ...(await this.evidence(record)), probes: proof.probes.slice(0, MAX_PROBES) }
    const verdict = isolationVerdict(proof, intact)
    return verdict.ok ? { state: 'verified', evidence } : refuted(verdict.why, evidence)
  }

  /** The permanent rules of the record in force, and what the kernel makes of them noted. */
  async reassert(): Promise<Result<void, 'rejected'>> {
    const { firewall } = this.#parts.platform
    const { ruleset } = this.#desired.record()
    const put = await firewall.apply(ruleset)
    if (!put.ok) return put
    const table = await firewall.table()
    if (table === undefined) return refuse('rejected', 'the table vanished as soon as it was made')
    const record = this.#desired.record()
    if (!isTable(record, table)) {
      this.#desired.write({ phase: 'isolated', record: { ...record, table_sha256: sha256(table) } })
    }
    return ok()
  }

  /** Our table gone, seen in the listing, which is returned. */
  async deleteTable(): Promise<Result<string, 'rejected'>> {
    const { firewall } = this.#parts.platform
    let why = ''
    for (let i = 0; i < DELETE_TRIES; i++) {
      try {
        const deleted = await firewall.deleteTable()
        const listing = await firewall.ruleset()
        if (deleted.ok && withoutOurTable(listing) === listing) return ok(listing)
        why = deleted.ok ? 'the table is still listed' : deleted.why
      } catch (error) {
        why = reasonOf(error)
      }
      await this.#parts.clock.sleep(100)
    }
    return refuse('rejected', why)
  }

  async evidence(record: IsolationRecord): Promise<IsolationEvidence> {
    const { firewall } = this.#parts.platform
    return {
      ...recordEvidence(record),
      ruleset_after_sha256: sha256(await firewall.ruleset()),
      dropped_packets: total(await firewall.counters()) + this.#packetsBefore(),
      expires_at: this.expiresAt(record),
    }
  }

  leftMs(record: IsolationRecord): number {
    return leftMs(record.hold, this.#parts.clock, this.#parts.platform.bootId())
  }

  expiresAt(record: IsolationRecord): string {
    return new Date(this.#parts.clock.now() + this.leftMs(record)).toISOString()
  }

  probeParts(confirmMs = PROBE_CONFIRM_MS): ProbeParts {
    const { platform, link, timing } = this.#parts
    return {
      firewall: platform.firewall,
      network: platform.network,
      confirm: () => link.confirm(confirmMs),
      tcpTimeoutMs: timing?.tcpProbeMs,
    }
  }
}
