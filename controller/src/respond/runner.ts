/**
 * Advances one run. Everything up to the next call out of the store is one transaction: the steps of that stretch are journaled with
 * their effects or not at all. A call is made after its step is journaled as running, and again after a crash, by the same key.
 */
import type { Clock } from '@firebreak/shared/clock.ts'
import { type CommandState, FINAL_STATES } from '@firebreak/shared/commands/command.ts'
import type { AgentId, CommandId, IncidentId, RunId } from '@firebreak/shared/ids.ts'
import { refuse } from '@firebreak/shared/result.ts'
import type { Selectable } from 'kysely'
import type { Audit } from '../audit/audit.ts'
import type { Orders } from '../orders/orders.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import { readFacts } from './facts.ts'
import type { Playbook } from './playbook.ts'
import { nextOf } from './run-machine.ts'
import type { Move, StepEvent, StepInput } from './steps/step.ts'
import { kindOf, type Step } from './steps/steps.ts'

export interface RunnerDeps {
  readonly store: StateStore
  readonly orders: Pick<Orders, 'propose'>
  readonly audit: Audit
  readonly clock: Pick<Clock, 'now'>
  readonly budgets: Readonly<Record<string, number>>
  /** The playbook of exactly this text; `undefined` when it cannot be read any more. */
  playbookOf(tx: Tx, sha256: string): Promise<Playbook | undefined>
}

/** What was done, told to log, metrics and bus after the commit. */
export type RunStory =
  | {
      readonly kind: 'step'
      readonly stepId: string
      readonly type: string
      readonly state: string
      readonly why: string
    }
  | { readonly kind: 'ended'; readonly state: string; readonly why: string | null; readonly ms: number }

export interface Advanced {
  readonly state: Tables['runs']['state'] | 'gone'
  readonly stories: readonly RunStory[]
  readonly playbookId: string
  readonly agentId: AgentId
  readonly incidentId: IncidentId
}

type RunRow = Selectable<Tables['runs']>
type StepRow = Selectable<Tables['run_steps']>
/** One transaction of a run, and the call that follows it. */
export type Stretch = Advanced & { readonly call?: { readonly step: Step; readonly input: StepInput<Step> } }

/** The first stretch of a run, in the transaction that starts it: one commit less between the incident and the order. */
export function beginRun(tx: Tx, id: RunId, deps: RunnerDeps): Promise<Stretch> {
  return progress(tx, id, undefined, deps)
}

/** Until the run waits or has ended. `begun`: its first stretch, already committed. `onStretch` is told after each commit. */
export async function advanceRun(
  id: RunId,
  deps: RunnerDeps,
  begun: Stretch | undefined,
  onStretch: (advanced: Advanced) => void,
): Promise<Advanced['state']> {
  let told: { stepId: string; event: StepEvent } | undefined
  let stretch = begun
  for (;;) {
    stretch ??= await deps.store.write((tx) => progress(tx, id, told, deps))
    onStretch(stretch)
    if (stretch.call === undefined) return stretch.state
    const { step, input } = stretch.call
    const kind = kindOf(step)
    if (kind.call === undefined) throw new Error(`a ${step.type} step has nothing to call`)
    told = { stepId: step.id, event: await kind.call(input, { orders: deps.orders }) }
    stretch = undefined
  }
}

async function progress(
  tx: Tx,
  id: RunId,
  told: { readonly stepId: string; readonly event: StepEvent } | undefined,
  deps: RunnerDeps,
): Promise<Stretch> {
  const run = await tx.selectFrom('runs').selectAll().where('id', '=', id).executeTakeFirst()
  if (run === undefined)
    return { state: 'gone', stories: [], playbookId: '', agentId: '' as AgentId, incidentId: '' as IncidentId }
  return await new StretchOfRun(tx, run, deps).go(told)
}

class StretchOfRun {
  readonly #tx: Tx
  readonly #run: RunRow
  readonly #deps: RunnerDeps
  readonly #nowMs: number
  readonly #stories: RunStory[] = []

  constructor(tx: Tx, run: RunRow, deps: RunnerDeps) {
    this.#tx = tx
    this.#run = run
    this.#deps = deps
    this.#nowMs = deps.clock.now()
  }

  async go(told: { readonly stepId: string; readonly event: StepEvent } | undefined): Promise<Stretch> {
    const run = this.#run
    if (run.state !== 'running' && run.state !== 'waiting') return this.#stretch(run.state)
    const playbook = await this.#deps.playbookOf(this.#tx, run.playbook_sha256)
    if (playbook === undefined) return await this.#end('failed', 'its playbook cannot be read any more')
    for (;;) {
      const rows = await this.#tx
        .selectFrom('run_steps')
        .selectAll()
        .where('run_id', '=', run.id)
        .orderBy('n')
        .execute()
      const next = nextOf(playbook, rows.map(journaled))
      if (next.kind === 'end') return await this.#end(next.state, next.why)
      const incidentId = await this.#incident()
      const facts = await readFacts(this.#tx, incidentId, run.agent_id as AgentId)
      if (facts === undefined) return await this.#end('failed', 'its incident or its host is gone')
      const { step } = next
      // What was begun is seen through; nothing new is begun for an incident that a person has closed.
      if (!next.resumed && facts.incident.status === 'closed')
        return await this.#end('cancelled', 'the incident was closed')
      const input: StepInput<Step> = {
        step,
        facts,
        run: {
          id: run.id as RunId,
          playbookId: run.playbook_id,
          playbookTitle: playbook.head.title,
          incidentId,
          agentId: run.agent_id as AgentId,
        },
        failure: next.failure,
        budgets: this.#deps.budgets,
        holds: (text) =>
          playbook.conditions.get(text)?.evaluate(facts) ?? refuse('condition_failed', `${text}: was never checked`),
      }
      const row = rows.find((entry) => entry.step_id === step.id)
      if (row === undefined) await this.#begin(step, rows.length + 1, input)
      const event = told?.stepId === step.id ? told.event : await this.#eventOf(step, row)
      const stretch = await this.#apply(step, input, event)
      if (stretch !== undefined) return stretch
    }
  }

  /** `undefined`: the step has ended and the run goes on. */
  async #apply(step: Step, input: StepInput<Step>, event: StepEvent): Promise<Stretch | undefined> {
    const kind = kindOf(step)
    let move = event.kind === 'begun' ? (skipped(step, input) ?? kind.next(input, event)) : kind.next(input, event)
    if (move.kind === 'effect' && kind.write !== undefined) {
      const result = await kind.write(input, { tx: this.#tx, audit: this.#deps.audit, nowMs: this.#nowMs })
      move = kind.next(input, { kind: 'wrote', result })
    }
    if (move.kind === 'effect') return { ...this.#stretch('running'), call: { step, input } }
    if (move.kind === 'wait') {
      await this.#wait(step, move.commandId)
      return this.#stretch('waiting')
    }
    await this.#finish(step, move)
    return undefined
  }

  /** What happened to a step since it was journaled. */
  async #eventOf(step: Step, row: StepRow | undefined): Promise<StepEvent> {
    if (row === undefined || row.command_id === null) return { kind: 'begun' }
    const command = await this.#tx
      .selectFrom('commands')
      .select(['id', 'state', 'code', 'why'])
      .where('id', '=', row.command_id)
      .executeTakeFirst()
    const overdueAt = Date.parse(row.started_at) + (kindOf(step).patience?.(step) ?? 0) * 1000
    const overdue = this.#nowMs > overdueAt
    if (command === undefined) return overdue ? { kind: 'timed_out' } : { kind: 'begun' }
    const state = command.state as CommandState
    if (overdue && !FINAL_STATES.has(state)) return { kind: 'timed_out' }
    return { kind: 'command', command: { id: command.id as CommandId, state, code: command.code, why: command.why } }
  }

  async #begin(step: Step, n: number, { facts, failure }: StepInput<Step>): Promise<void> {
    const { id, type, ...given } = step
    await this.#tx
      .insertInto('run_steps')
      .values({
        run_id: this.#run.id,
        step_id: id,
        n,
        type,
        state: 'running',
        inputs: JSON.stringify({ ...given, facts: { host: facts.host, incident: facts.incident }, failure }),
        outputs: '{}',
        command_id: null,
        why: null,
        started_at: this.#now(),
        ended_at: null,
      })
      .execute()
    await this.#tx
      .updateTable('runs')
      .set({ state: 'running', updated_at: this.#now() })
      .where('id', '=', this.#run.id)
      .execute()
  }

  async #wait(step: Step, commandId: CommandId): Promise<void> {
    await this.#tx
      .updateTable('run_steps')
      .set({ command_id: commandId })
      .where('run_id', '=', this.#run.id)
      .where('step_id', '=', step.id)
      .execute()
    await this.#tx
      .updateTable('runs')
      .set({ state: 'waiting', updated_at: this.#now() })
      .where('id', '=', this.#run.id)
      .execute()
  }

  async #finish(step: Step, { state, why, outputs }: Extract<Move, { kind: 'done' }>): Promise<void> {
    const commandId = outputs['command_id']
    await this.#tx
      .updateTable('run_steps')
      .set({
        state,
        why,
        outputs: JSON.stringify(outputs),
        ended_at: this.#now(),
        ...(typeof commandId === 'string' ? { command_id: commandId } : {}),
      })
      .where('run_id', '=', this.#run.id)
      .where('step_id', '=', step.id)
      .execute()
    await this.#tx
      .updateTable('runs')
      .set({ state: 'running', updated_at: this.#now() })
      .where('id', '=', this.#run.id)
      .execute()
    await this.#audit('respond.step.ended', { step_id: step.id, type: step.type, state, why })
    this.#stories.push({ kind: 'step', stepId: step.id, type: step.type, state, why })
  }

  async #end(state: 'succeeded' | 'failed' | 'refused' | 'cancelled', why: string | null): Promise<Stretch> {
    await this.#tx
      .updateTable('runs')
      .set({ state, why, updated_at: this.#now(), ended_at: this.#now() })
      .where('id', '=', this.#run.id)
      .execute()
    await this.#audit('respond.run.ended', { state, why })
    this.#stories.push({ kind: 'ended', state, why, ms: this.#nowMs - Date.parse(this.#run.started_at) })
    return this.#stretch(state)
  }

  async #audit(action: string, detail: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#deps.audit.append(this.#tx, {
      actor: `playbook:${this.#run.playbook_id}`,
      action,
      objectType: 'run',
      objectId: this.#run.id,
      detail: { incident_id: this.#run.incident_id, agent_id: this.#run.agent_id, ...detail },
    })
  }

  /** Where the incident of the run lives today. */
  async #incident(): Promise<IncidentId> {
    const id = this.#run.incident_id as IncidentId
    const row = await this.#tx.selectFrom('incidents').select('merged_into').where('id', '=', id).executeTakeFirst()
    return (row?.merged_into ?? id) as IncidentId
  }

  #stretch(state: Stretch['state']): Stretch {
    return {
      state,
      stories: this.#stories,
      playbookId: this.#run.playbook_id,
      agentId: this.#run.agent_id as AgentId,
      incidentId: this.#run.incident_id as IncidentId,
    }
  }

  #now(): string {
    return new Date(this.#nowMs).toISOString()
  }
}

function skipped(step: Step, input: StepInput<Step>): Move | undefined {
  if (step.if === undefined) return undefined
  const held = input.holds(step.if)
  if (!held.ok) return { kind: 'done', state: 'failed', why: held.why, outputs: {} }
  return held.value ? undefined : { kind: 'done', state: 'skipped', why: `not ${step.if}`, outputs: {} }
}

function journaled(row: StepRow) {
  return { stepId: row.step_id, state: row.state, why: row.why }
}
