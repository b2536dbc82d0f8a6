/** Commands in the state: the only place where a command changes, always by the table of states and with a line of its history. */
import { COMMAND_CARDS, type CommandType } from '@firebreak/shared/commands/catalogue.ts'
import type { CommandState } from '@firebreak/shared/commands/command.ts'
import type { AgentId, CommandId } from '@firebreak/shared/ids.ts'
import { Fault } from '@firebreak/shared/result.ts'
import type { Insertable, Selectable, Updateable } from 'kysely'
import type { Tx } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import type { CommandView } from './orders.ts'
import { mayFollow } from './states.ts'

export type CommandRow = Selectable<Tables['commands']>
export type NewCommand = Insertable<Tables['commands']>

export function viewOf(row: CommandRow): CommandView {
  return {
    id: row.id as CommandId,
    agentId: row.agent_id as AgentId,
    type: row.type as CommandType,
    state: row.state as CommandState,
    code: row.code,
    why: row.why,
  }
}

export function cardOf(row: Pick<CommandRow, 'type'>): (typeof COMMAND_CARDS)[CommandType] {
  const card = COMMAND_CARDS[row.type as CommandType]
  if (card === undefined) throw new Fault('bad_column', `there is no command type ${row.type}`)
  return card
}

export async function findCommand(tx: Pick<Tx, 'selectFrom'>, id: string): Promise<CommandRow | undefined> {
  return tx.selectFrom('commands').selectAll().where('id', '=', id).executeTakeFirst()
}

/** A new command with the first line of its history. */
export async function insertCommand(tx: Tx, row: NewCommand, at: string): Promise<void> {
  await tx.insertInto('commands').values(row).execute()
  await addTransition(tx, row.id, row.state, at, { actor: row.actor })
}

/**
 * Moves a command on. A step that the table does not know is a bug, so it is thrown; who reacts to the outside asks `mayFollow` first.
 * Returns the row as it is now.
 */
export async function advance(
  tx: Tx,
  row: CommandRow,
  to: CommandState,
  at: string,
  set: Omit<Updateable<Tables['commands']>, 'id' | 'state' | 'updated_at'> = {},
  detail: Readonly<Record<string, unknown>> = {},
): Promise<CommandRow> {
  if (!mayFollow(row.state as CommandState, to))
    throw new Fault('illegal_transition', `command ${row.id} cannot go from ${row.state} to ${to}`)
  const { numUpdatedRows } = await tx
    .updateTable('commands')
    .set({ ...set, state: to, updated_at: at })
    .where('id', '=', row.id)
    .where('state', '=', row.state)
    .executeTakeFirst()
  if (numUpdatedRows !== 1n) throw new Fault('illegal_transition', `command ${row.id} is not ${row.state} any more`)
  await addTransition(tx, row.id, to, at, detail)
  return { ...row, ...(set as Partial<CommandRow>), state: to, updated_at: at }
}

async function addTransition(
  tx: Tx,
  commandId: string,
  state: string,
  at: string,
  detail: Readonly<Record<string, unknown>>,
): Promise<void> {
  const last = await tx
    .selectFrom('command_transitions')
    .select('n')
    .where('command_id', '=', commandId)
    .orderBy('n', 'desc')
    .limit(1)
    .executeTakeFirst()
  await tx
    .insertInto('command_transitions')
    .values({ command_id: commandId, n: (last?.n ?? 0) + 1, state, at, detail: JSON.stringify(detail) })
    .execute()
}
