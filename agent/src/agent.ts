/** The wiring of the agent: who is given what. Nothing is decided here. */
import { createHash, randomUUID } from 'node:crypto'
import { uptime } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { SourceStatus } from '@firebreak/shared/events/coverage.ts'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import type { CollectorStatus, StreamCount } from '@firebreak/shared/wire/messages.ts'
import { createActions } from './actions/actions.ts'
import type { Containment } from './actions/index.ts'
import { superviseCollectors } from './collector-supervisor.ts'
import { createCollectors } from './collectors/collectors.ts'
import { Sources } from './collectors/sources.ts'
import type { Config } from './config.ts'
import { type ControlAnswer, type ControlRequest, listenForControl } from './control-socket.ts'
import { makePrivateFolder } from './disk/atomic-file.ts'
import { readHostFacts } from './facts/host-facts.ts'
import { readBootId, readIdentity } from './identity/identity.ts'
import { openTrustStore } from './identity/trust-store.ts'
import { AGENT_VERSION } from './identity/version.ts'
import { openAddressBook } from './link/addresses.ts'
import { createLink, type LinkState } from './link/link.ts'
import { openSpool } from './link/spool/spool.ts'
import type { Log } from './log.ts'
import { AGENT_LOG } from './log-names.ts'
import { type CeilingView, createCeiling } from './orders/ceiling.ts'
import { ORDERS_LOG } from './orders/log-names.ts'
import { createOrders } from './orders/orders.ts'
import { createReleaseCodeDoor } from './orders/release-code.ts'
import { createPlatform } from './platform/create-platform.ts'
import { watchTrustExpiry } from './trust-expiry.ts'

export type AgentRefusal = 'not_enrolled' | 'bad_state' | 'in_use'

/** What `firebreak-agent status` shows. */
export interface AgentStatus {
  readonly version: string
  readonly agent_id: string
  readonly deployment_id: string
  readonly trust: { readonly version: number; readonly expires_at: string; readonly expired: boolean }
  readonly link: LinkState
  readonly streams: readonly StreamCount[]
  readonly collectors: readonly CollectorStatus[]
  readonly sources: readonly SourceStatus[]
  readonly containment: Containment
  readonly ceiling: CeilingView
  readonly receipts: { readonly made: number; readonly unacked: number }
}

export interface Agent {
  status(): AgentStatus
  /** Flushes and stops everything; containments stay in force. */
  stop(): Promise<void>
}

export interface AgentDeps {
  readonly clock: Clock
  readonly log: Log
  /** Names each durable step for the fault tests; does nothing in production. */
  readonly step?: (name: string) => void
}

export async function startAgent(config: Config, deps: AgentDeps): Promise<Result<Agent, AgentRefusal>> {
  const { clock, log } = deps
  const stateDir = config.state_dir
  makePrivateFolder(stateDir)
  const trust = openTrustStore(stateDir)
  if (!trust.ok) return trust
  const identity = readIdentity(stateDir)
  if (!identity.ok) return refuse(identity.code === 'no_key' ? 'not_enrolled' : 'bad_state', identity.why)
  if (identity.value.agentId !== trust.value.enrolment.agent_id)
    return refuse('bad_state', `the key in ${stateDir} is not the one that joined; join the host again`)

  const door: { handle?: (request: ControlRequest) => Promise<ControlAnswer> } = {}
  const starting = refuse('starting', 'the agent is starting')
  // First, because it also keeps a second agent away from the same state.
  const socket = await listenForControl(
    config.run_socket,
    async (request) => (await door.handle?.(request)) ?? starting,
  )
  if (!socket.ok) return socket

  const bootId = readBootId()
  const spool = openSpool({ clock, log, folder: join(stateDir, 'spool') }, config.spool)
  const run = {
    id: randomUUID(),
    started_ms: clock.now(),
    booted_ms: Math.max(0, Math.round(clock.now() - uptime() * 1_000)),
    ...(spool.lastAlive === undefined ? {} : { last_alive_ms: spool.lastAlive }),
  }
  const ceiling = createCeiling({ path: config.ceiling })
  const step = deps.step ? { step: deps.step } : {}
  const orders = createOrders({
    identity: identity.value,
    trust: trust.value,
    ceiling,
    clock,
    log,
    bootId,
    journalPath: join(stateDir, 'journal'),
    ...step,
  })
  const sources = new Sources(clock)
  const collectors = superviseCollectors(
    createCollectors({ clock, stateFolder: stateDir, sources }, config.collectors),
    spool,
    { clock, log, sources },
  )
  sources.onChange(() => link.statusChanged())
  const link = createLink({
    identity: identity.value,
    trust: trust.value,
    clock,
    log,
    spool,
    outbox: orders.receipts,
    addresses: openAddressBook({ log, stateDir }),
    configured: config.controllers,
    reconnectMinMs: config.link.reconnect_min_ms,
    reconnectMaxMs: config.link.reconnect_max_ms,
    statusIntervalMs: config.link.status_interval_ms,
    hello: () => ({
      boot_id: bootId,
      facts: readHostFacts(),
      command: orders.position(),
      receipt_seq: orders.receipts.last(),
      streams: [...spool.counts()],
      run,
    }),
    status: () => ({
      t: 'status',
      at_ms: clock.now(),
      streams: [...spool.counts(), ...spool.closed()],
      renewals: [...spool.renewals],
      collectors: collectors.status(),
      sources: collectors.sources(),
      containment: table.containment(),
      ceiling_sha256: ceiling.view().sha256,
    }),
    onCommand(envelope, session) {
      try {
        orders.receive(envelope, session)
      } catch (thrown) {
        log.error(ORDERS_LOG.journalUnwritable, {
          reason: reasonOf(thrown),
          sha256: createHash('sha256').update(envelope).digest('hex'),
        })
      }
    },
    onTrust() {
      expiry.look()
      table.controllersChanged().catch((thrown: unknown) => {
        log.error(ORDERS_LOG.actionFailed, { type: 'isolate-host', step: 'follow', reason: reasonOf(thrown) })
      })
    },
  })
  const table = createActions({
    platform: createPlatform(),
    link,
    stateDir,
    clock,
    log,
    emit: (event) => spool.event(event),
    onEnded: ({ cmdId, effect }) => orders.ended(cmdId, effect),
    onChanged: () => link.statusChanged(),
    protects: (pid, executable) => ceiling.protects(pid, executable),
  })
  const expiry = watchTrustExpiry({ trust: trust.value, clock, log, emit: (event) => spool.event(event) })
  const release = createReleaseCodeDoor(table, { clock, log })

  const status = (): AgentStatus => {
    const { file } = trust.value.current()
    return {
      version: AGENT_VERSION,
      agent_id: identity.value.agentId,
      deployment_id: file.deployment_id,
      trust: {
        version: file.version,
        expires_at: file.expires_at,
        expired: trust.value.current().expired(clock.now()),
      },
      link: link.state(),
      streams: spool.counts(),
      collectors: collectors.status(),
      sources: collectors.sources(),
      containment: table.containment(),
      ceiling: ceiling.view(),
      receipts: { made: orders.receipts.last(), unacked: orders.receipts.after(0).length },
    }
  }
  door.handle = async (request) => (request.verb === 'status' ? ok(status()) : await release(request.code))

  link.start()
  // Containments come back in force before anything new is looked at; that may need the link, so it does not wait for it.
  const recovered = orders.recover(table.actions)
  await collectors.start()
  await recovered
  log.info(AGENT_LOG.started, { version: AGENT_VERSION, 'agent.id': identity.value.agentId })

  return ok({
    status,
    async stop() {
      expiry.stop()
      await collectors.stop()
      await spool.sync()
      await link.stop()
      await orders.stop()
      await spool.close()
      await socket.value.close()
      log.info(AGENT_LOG.stopped)
    },
  })
}
