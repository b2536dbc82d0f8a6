/** The room: incidents → playbook runs → orders. Everything it knows is in the state store; the bus only tells it when to look. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { CommandId, IncidentId, RunId } from '@firebreak/shared/ids.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Registry } from 'prom-client'
import type { Audit } from '../audit/audit.ts'
import type { Orders } from '../orders/orders.ts'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { PlaybooksHealth, PlaybookStatus, Respond } from './index.ts'
import { type RespondLog, type RespondMetrics, respondMetrics } from './log-names.ts'
import type { Playbook } from './playbook.ts'
import { readPlaybooks, SHIPPED_PLAYBOOKS } from './playbook-files.ts'
import { parsePlaybook } from './playbook-parse.ts'
import type { RespondConfig } from './respond-config.ts'
import { type Advanced, advanceRun, beginRun, type RunnerDeps, type Stretch } from './runner.ts'
import { endedContainments, reopenAfter } from './ended-containment.ts'
import { triggerRuns } from './trigger.ts'
import { WorkQueue } from './work-queue.ts'

export interface RespondDeps {
  readonly store: StateStore
  readonly orders: Pick<Orders, 'propose'>
  readonly bus: Bus
  readonly audit: Audit
  readonly clock: Clock
  readonly log: RespondLog
  readonly metrics: Registry
}

const RETRIES = 3
const RETRY_MS = 500
const SCAN_PAGE = 500
/** Runs that are begun in the transaction that starts them; more would hold up the writer. */
const BEGUN_AT_ONCE = 4

export function createRespond(deps: RespondDeps, config: RespondConfig): Respond {
  return new RespondRoom(deps, config)
}

class RespondRoom implements Respond {
  readonly #deps: RespondDeps
  readonly #config: RespondConfig
  readonly #metrics: RespondMetrics
  readonly #runner: RunnerDeps
  /** One incident after the other: two looks at one must not start one run twice. */
  readonly #incidents: WorkQueue<IncidentId>
  readonly #runs: WorkQueue<RunId>
  /** First stretches that are committed and whose calls are still to be made. */
  readonly #begun = new Map<RunId, Stretch>()
  /** Commands of finished steps whose effect may have ended. */
  readonly #ended: WorkQueue<CommandId>
  readonly #versions = new Map<string, Playbook>()
  #playbooks: readonly Playbook[] = []
  #health: PlaybooksHealth = { ready: false, live: 0, problems: [], why: 'the playbooks are not loaded yet' }
  #unsubscribe: (() => void)[] = []
  #stopping = new AbortController()
  #rescanning: Promise<void> = Promise.resolve()

  constructor(deps: RespondDeps, config: RespondConfig) {
    this.#deps = deps
    this.#config = config
    this.#metrics = respondMetrics(deps.metrics)
    this.#runner = {
      store: deps.store,
      orders: deps.orders,
      audit: deps.audit,
      clock: deps.clock,
      budgets: config.budgets_per_hour,
      playbookOf: (tx, sha256) => this.#playbookOf(tx, sha256),
    }
    this.#incidents = new WorkQueue(1, (id) => this.#withRetries({ incident_id: id }, () => this.#consider(id)))
    this.#ended = new WorkQueue(1, (id) => this.#withRetries({ command_id: id }, () => this.#lookAtEnded(id)))
    this.#runs = new WorkQueue(config.runs_at_once, (id) => this.#withRetries({ run_id: id }, () => this.#advance(id)))
  }

  async start(): Promise<void> {
    await this.reloadPlaybooks()
    const { bus } = this.#deps
    this.#unsubscribe = [
      bus.subscribe('incident.changed', ({ incidentId }) => this.#incidents.add(incidentId)),
      bus.subscribe('command.changed', ({ commandId }) => this.#commandChanged(commandId)),
    ]
    await this.#scan()
    this.#rescanning = this.#rescan(this.#stopping.signal)
  }

  async stop(): Promise<void> {
    for (const end of this.#unsubscribe) end()
    this.#stopping.abort()
    this.#incidents.close()
    this.#runs.close()
    this.#ended.close()
    await Promise.all([this.#rescanning, this.#incidents.idle(), this.#runs.idle(), this.#ended.idle()])
  }

  async idle(): Promise<void> {
    // A look at an incident starts runs, and a run changes incidents.
    while (this.#incidents.busy || this.#runs.busy || this.#ended.busy) {
      await this.#incidents.idle()
      await this.#runs.idle()
      await this.#ended.idle()
    }
  }

  async reloadPlaybooks(): Promise<PlaybooksHealth> {
    const { log } = this.#deps
    const folders = this.#config.playbook_dirs.length > 0 ? this.#config.playbook_dirs : [SHIPPED_PLAYBOOKS]
    const { playbooks, problems } = await readPlaybooks(folders)
    for (const problem of problems) log.error('respond.playbook.refused', { ...problem })
    this.#metrics.playbooksRefused.set(problems.length)
    const live = this.#playbooks.length
    if (problems.length > 0 && live > 0) {
      const why = 'the playbooks before stay in force: a file cannot be used'
      log.error('respond.playbooks.kept', { live, problems: problems.length })
      this.#health = { ready: true, live, problems, why }
      return this.#health
    }
    this.#playbooks = playbooks
    this.#metrics.playbooks.set(playbooks.length)
    log.info('respond.playbooks.loaded', { live: playbooks.length, problems: problems.length, folders })
    const why = playbooks.length === 0 ? { why: `no playbooks in ${folders.join(', ')}` } : {}
    this.#health = { ready: playbooks.length > 0, live: playbooks.length, problems, ...why }
    return this.#health
  }

  playbooksHealth(): PlaybooksHealth {
    return this.#health
  }

  playbookList(): readonly PlaybookStatus[] {
    return this.#playbooks.map(({ head, file, sha256 }) => ({
      id: head.id,
      title: head.title,
      version: head.version,
      file,
      sha256,
    }))
  }

  async #consider(incidentId: IncidentId): Promise<void> {
    let from: number | undefined = 0
    while (from !== undefined && !this.#stopping.signal.aborted) from = await this.#considerFrom(incidentId, from)
  }

  async #considerFrom(incidentId: IncidentId, from: number): Promise<number | undefined> {
    const { store, audit, clock, bus, log } = this.#deps
    const { triggered, begun } = await store.write(async (tx) => {
      const triggered = await triggerRuns(incidentId, from, {
        tx,
        audit,
        nowMs: clock.now(),
        playbooks: this.#playbooks,
        automatic: this.#config.automatic,
      })
      const begun = new Map<RunId, Stretch>()
      if (triggered.runs.length <= BEGUN_AT_ONCE) {
        for (const { id } of triggered.runs) begun.set(id, await beginRun(tx, id, this.#runner))
      }
      return { triggered, begun }
    })
    for (const why of triggered.failures) log.error('respond.trigger.failed', { incident_id: incidentId, why })
    for (const { id, playbookId, agentId } of triggered.runs) {
      log.info('respond.run.started', { run_id: id, playbook: playbookId, incident_id: incidentId, 'host.id': agentId })
      const stretch = begun.get(id)
      if (stretch !== undefined) this.#begun.set(id, stretch)
      this.#runs.add(id)
      bus.publish('run.changed', { runId: id })
    }
    if (triggered.escalated) bus.publish('incident.changed', { incidentId })
    return triggered.next
  }

  async #advance(runId: RunId): Promise<void> {
    const begun = this.#begun.get(runId)
    this.#begun.delete(runId)
    await advanceRun(runId, this.#runner, begun, (advanced) => this.#tell(runId, advanced))
  }

  #tell(runId: RunId, { stories, playbookId, agentId, incidentId }: Advanced): void {
    const { log, bus } = this.#deps
    for (const story of stories) {
      const fields = { run_id: runId, playbook: playbookId, 'host.id': agentId, incident_id: incidentId }
      if (story.kind === 'step') {
        const { stepId, type, state, why } = story
        this.#metrics.steps.inc({ type, state })
        const name = 'respond.step.ended'
        if (state === 'failed' || state === 'refused') log.warn(name, { ...fields, step_id: stepId, state, why })
        else log.info(name, { ...fields, step_id: stepId, state })
        // Steps may have written into the incident.
        if (type === 'escalate' || type === 'mark-incident') bus.publish('incident.changed', { incidentId })
      } else {
        this.#metrics.runs.inc({ playbook: playbookId, state: story.state })
        this.#metrics.runSeconds.observe(Math.max(0, story.ms) / 1000)
        log.info('respond.run.ended', { ...fields, state: story.state, why: story.why })
      }
    }
    bus.publish('run.changed', { runId })
  }

  async #commandChanged(commandId: CommandId): Promise<void> {
    const steps = await this.#deps.store.db
      .selectFrom('run_steps')
      .select(['run_id', 'state'])
      .where('command_id', '=', commandId)
      .execute()
    for (const { run_id, state } of steps) {
      if (state === 'running') this.#runs.add(run_id as RunId)
      else if (state === 'succeeded') this.#ended.add(commandId)
    }
  }

  /** What was proved is not so any more. */
  async #lookAtEnded(commandId: CommandId): Promise<void> {
    const { store, audit, clock, bus } = this.#deps
    const incidentId = await store.write((tx) => reopenAfter(tx, audit, commandId, clock.now()))
    if (incidentId !== undefined) bus.publish('incident.changed', { incidentId })
  }

  /** What fails now is tried again shortly, and then at the next scan: nothing is lost, it is journaled. */
  async #withRetries(what: Readonly<Record<string, string>>, work: () => Promise<void>): Promise<void> {
    for (let attempt = 1; !this.#stopping.signal.aborted; attempt++) {
      try {
        await work()
        return
      } catch (thrown) {
        this.#metrics.interruptions.inc()
        this.#deps.log.error('respond.run.interrupted', { ...what, attempt, why: reasonOf(thrown) })
        if (attempt >= RETRIES) return
        await this.#deps.clock.sleep(RETRY_MS * attempt, this.#stopping.signal).catch(() => undefined) // stopped
      }
    }
  }

  async #rescan(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await this.#deps.clock.sleep(this.#config.rescan_ms, stop).catch(() => undefined) // stopped: the loop ends
      if (stop.aborted) return
      try {
        await this.#scan()
      } catch (thrown) {
        this.#deps.log.error('respond.scan.failed', { why: reasonOf(thrown) })
      }
    }
  }

  async #scan(): Promise<void> {
    const { db } = this.#deps.store
    for (const state of ['running', 'waiting'] as const) {
      await eachPage((after) =>
        db
          .selectFrom('runs')
          .select('id')
          .where('state', '=', state)
          .where('id', '>', after)
          .orderBy('id')
          .limit(SCAN_PAGE)
          .execute(),
      )((id) => this.#runs.add(id as RunId))
    }
    await eachPage((after) =>
      db
        .selectFrom('incidents')
        .select('id')
        .where('status', 'in', ['open', 'in_progress'])
        .where('decision', '=', 'act')
        .where('id', '>', after)
        .orderBy('id')
        .limit(SCAN_PAGE)
        .execute(),
    )((id) => this.#incidents.add(id as IncidentId))
    for (const id of await endedContainments(db)) this.#ended.add(id)
  }

  async #playbookOf(tx: Tx, sha256: string): Promise<Playbook | undefined> {
    const known = this.#versions.get(sha256) ?? this.#playbooks.find((playbook) => playbook.sha256 === sha256)
    if (known !== undefined) return known
    const row = await tx.selectFrom('playbook_versions').selectAll().where('sha256', '=', sha256).executeTakeFirst()
    if (row === undefined) return undefined
    const parsed = parsePlaybook(row.playbook_id, row.text)
    if (!parsed.ok) return undefined
    this.#versions.set(sha256, parsed.value)
    return parsed.value
  }
}

type Page = readonly { readonly id: string }[]

function eachPage(read: (after: string) => Promise<Page>): (use: (id: string) => void) => Promise<void> {
  return async (use) => {
    let after = ''
    for (;;) {
      const page = await read(after)
      for (const { id } of page) use(id)
      if (page.length < SCAN_PAGE) return
      after = page.at(-1)?.id ?? ''
    }
  }
}
