/** Who may order what. The one place: every door (API, CLI, console, playbook, schedule) comes through here (threat T7). */
import type { CommandType } from '@firebreak/shared/commands/catalogue.ts'
import type { Actor, Role } from './orders.ts'

/** A new command type is forbidden to everybody until it has a line here: the compiler asks for it. */
const ROLES_FOR: Readonly<Record<CommandType, readonly Role[]>> = {
  'isolate-host': ['responder', 'engineer', 'admin'],
  'release-host': ['responder', 'engineer', 'admin'],
  'kill-process': ['responder', 'engineer', 'admin'],
}

const PLAYBOOKS_MAY: Readonly<Record<CommandType, boolean>> = {
  'isolate-host': true,
  'release-host': true,
  'kill-process': true,
}

export function mayOrder(actor: Actor, type: CommandType): boolean {
  return actor.kind === 'playbook' ? PLAYBOOKS_MAY[type] : ROLES_FOR[type].includes(actor.role)
}

export function nameOfActor(actor: Actor): string {
  return actor.kind === 'playbook' ? `playbook:${actor.id}` : `user:${actor.name}`
}
