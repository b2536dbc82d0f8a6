/** Playbooks at work: each run with its steps, and each step with the command that it gave. */
import type { Selectable } from 'kysely'
import { Type } from 'typebox'
import type { Tables } from '../store/state/tables.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { recordOf } from './json-column.ts'
import { decodeCursor, PAGE, pageFrom, pageOf, pageQuery, parseCursorKey } from './paging.ts'
import { notFound, ProblemError } from './problem.ts'
import { AgentIdText, closed, Count, Free, orNull, Uuid } from './schemas.ts'

const RUN_STATES = ['running', 'waiting', 'succeeded', 'failed', 'refused', 'cancelled'] as const
const STEP_STATES = ['running', 'succeeded', 'failed', 'refused', 'skipped'] as const

export const RunStep = closed(
  {
    step_id: Type.String(),
    n: Count('Order within the run.'),
    type: Type.String(),
    state: Type.Enum([...STEP_STATES]),
    inputs: Free('What it was given.'),
    outputs: Free('What came out.'),
    command_id: orNull(Type.String()),
    why: orNull(Type.String()),
    started_at: Type.String(),
    ended_at: orNull(Type.String()),
  },
  'A step.',
)
export const Run = closed(
  {
    id: Type.String({ description: 'Made of playbook, incident and host.' }),
    playbook_id: Type.String(),
    playbook_sha256: Type.String({ description: 'Digest of the text that it goes by.' }),
    incident_id: orNull(Type.String()),
    agent_id: orNull(Type.String()),
    state: Type.Enum([...RUN_STATES]),
    why: orNull(Type.String()),
    started_by: Type.String(),
    started_at: Type.String(),
    updated_at: Type.String(),
    ended_at: orNull(Type.String()),
  },
  'A run.',
)
export type Run = Type.Static<typeof Run>
export const RunWithSteps = closed({ run: Run, steps: Type.Array(RunStep) }, 'A run with its steps.')
export type RunWithSteps = Type.Static<typeof RunWithSteps>

export function runRoutes(api: Api, { state }: Pick<ApiDeps, 'state'>): void {
  api.get(
    '/api/v1/runs',
    {
      schema: {
        tags: ['runs'],
        summary: 'List playbook runs',
        description: 'Newest first.',
        querystring: closed(
          {
            ...pageQuery,
            state: Type.Optional(Type.Enum([...RUN_STATES])),
            incident_id: Type.Optional(Uuid('Incident.')),
            host: Type.Optional(AgentIdText('Host.')),
          },
          'Query.',
        ),
        response: { 200: pageOf(Run) },
      },
    },
    async ({ query }) => {
      const limit = query.limit ?? PAGE.default
      const after = decodeCursor('runs', query.cursor)
      let rows = state.db
        .selectFrom('runs')
        .selectAll()
        .orderBy('started_at', 'desc')
        .orderBy('id', 'desc')
        .limit(limit + 1)
      if (after !== undefined) {
        const key = parseCursorKey(after)
        if (!Array.isArray(key)) throw new ProblemError('bad_cursor', 'start again without `cursor`')
        const [startedAt, id] = key.map(String)
        rows = rows.where((eb) =>
          eb.or([
            eb('started_at', '<', startedAt ?? ''),
            eb.and([eb('started_at', '=', startedAt ?? ''), eb('id', '<', id ?? '')]),
          ]),
        )
      }
      if (query.state !== undefined) rows = rows.where('state', '=', query.state)
      if (query.incident_id !== undefined) rows = rows.where('incident_id', '=', query.incident_id)
      if (query.host !== undefined) rows = rows.where('agent_id', '=', query.host)
      return pageFrom('runs', await rows.execute(), limit, (row) => JSON.stringify([row.started_at, row.id]), runView)
    },
  )

  api.get(
    '/api/v1/runs/:id',
    {
      schema: {
        tags: ['runs'],
        summary: 'Show a run with its steps',
        params: closed({ id: Type.String({ minLength: 1, maxLength: 256 }) }, 'Path.'),
        response: { 200: RunWithSteps },
      },
    },
    async ({ params }) => {
      const row = await state.db.selectFrom('runs').selectAll().where('id', '=', params.id).executeTakeFirst()
      if (!row) throw notFound('no such run')
      return await withSteps(state, row)
    },
  )
}

export async function withSteps(state: ApiDeps['state'], row: Selectable<Tables['runs']>): Promise<RunWithSteps> {
  const steps = await state.db.selectFrom('run_steps').selectAll().where('run_id', '=', row.id).orderBy('n').execute()
  return {
    run: runView(row),
    steps: steps.map((step) => ({
      step_id: step.step_id,
      n: step.n,
      type: step.type,
      state: step.state,
      inputs: recordOf(step.inputs),
      outputs: recordOf(step.outputs),
      command_id: step.command_id,
      why: step.why,
      started_at: step.started_at,
      ended_at: step.ended_at,
    })),
  }
}

function runView(row: Selectable<Tables['runs']>): Run {
  return {
    id: row.id,
    playbook_id: row.playbook_id,
    playbook_sha256: row.playbook_sha256,
    incident_id: row.incident_id,
    agent_id: row.agent_id,
    state: row.state,
    why: row.why,
    started_by: row.started_by,
    started_at: row.started_at,
    updated_at: row.updated_at,
    ended_at: row.ended_at,
  }
}
