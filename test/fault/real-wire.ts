/** The spool and the link of a real agent on a folder, as one life of it: what speaks to controllers, without what looks at a host. */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { readHostFacts } from '@firebreak/agent/src/facts/host-facts.ts'
import { readBootId, readIdentity } from '@firebreak/agent/src/identity/identity.ts'
import { openTrustStore } from '@firebreak/agent/src/identity/trust-store.ts'
import { openAddressBook } from '@firebreak/agent/src/link/addresses.ts'
import { enrol } from '@firebreak/agent/src/link/enrol.ts'
import { createLink, type Link } from '@firebreak/agent/src/link/link.ts'
import { openSpool, type Spool } from '@firebreak/agent/src/link/spool/spool.ts'
import { silentLog } from '@firebreak/agent/src/log.ts'
import { systemClock } from '@firebreak/shared/clock.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { processEvent } from '../fleet/simulated-events.ts'

export class Machine {
  readonly agentId: string
  readonly spool: Spool
  readonly link: Link

  constructor(stateDir: string) {
    const identity = readIdentity(stateDir)
    const trust = openTrustStore(stateDir)
    if (!identity.ok || !trust.ok) throw new Error('not joined')
    this.agentId = identity.value.agentId
    this.spool = openSpool(
      { clock: systemClock, log: silentLog, folder: join(stateDir, 'spool') },
      { max_bytes: 16 * MiB, segment_bytes: MiB, max_age_hours: 72, min_free_percent: 0 },
    )
    const { spool } = this
    const now = systemClock.now()
    const last = spool.lastAlive
    const run = {
      id: randomUUID(),
      started_ms: now,
      booted_ms: now - 86_400_000,
      ...(last === undefined ? {} : { last_alive_ms: last }),
    }
    this.link = createLink({
      identity: identity.value,
      trust: trust.value,
      clock: systemClock,
      log: silentLog,
      spool,
      outbox: { resume() {}, after: () => [], acked() {}, onNew() {}, onAgain() {} },
      addresses: openAddressBook({ log: silentLog, stateDir }),
      configured: [],
      reconnectMinMs: 20,
      reconnectMaxMs: 50,
      statusIntervalMs: 500,
      hello: () => ({
        boot_id: readBootId(),
        facts: readHostFacts(),
        command: { lease: 0, seq: 0 },
        receipt_seq: 0,
        streams: [...spool.counts()],
        run,
      }),
      status: () => ({
        t: 'status',
        at_ms: systemClock.now(),
        streams: [...spool.counts(), ...spool.closed()],
        renewals: [...spool.renewals],
        collectors: [],
        containment: { phase: 'none', drift_count: 0 },
        ceiling_sha256: '0'.repeat(64),
      }),
      onCommand() {},
      onTrust() {},
    })
    this.link.start()
  }

  say(count: number, about: string): void {
    for (let i = 0; i < count; i++) this.spool.event(processEvent(i, about))
  }

  /** What it holds that is not acked. */
  waiting(): number {
    return this.spool.counts().find((count) => count.class === 'process')?.spooled ?? 0
  }

  async end(): Promise<void> {
    await this.link.stop()
    await this.spool.close()
  }
}

/** Joins a new host to the controller; returns its state. */
export async function joinedHost(stateDir: string, gatewayPort: number, joinString: string): Promise<string> {
  const joined = await enrol(
    { controller: `https://127.0.0.1:${gatewayPort}`, joinString, stateDir, facts: readHostFacts() },
    { clock: systemClock, addresses: openAddressBook({ log: silentLog, stateDir }) },
  )
  if (!joined.ok) throw new Error(joined.why)
  return stateDir
}
