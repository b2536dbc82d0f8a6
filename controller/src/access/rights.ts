/** What a role may do at a door. What a role may order a host to do is checked in `orders`, once for every door. */
import type { Role } from '../orders/orders.ts'

export const RIGHTS = [
  'fleet:read',
  'fleet:write',
  'fleet:enrol',
  'incidents:read',
  'incidents:write',
  'commands:read',
  'commands:run',
  'events:read',
  'events:import',
  'events:export',
  'rules:read',
  'indicators:read',
  'indicators:write',
  'indicators:feeds',
  'audit:read',
  'system:read',
  'admin',
] as const
export type Right = (typeof RIGHTS)[number]

const VIEWER = [
  'fleet:read',
  'incidents:read',
  'commands:read',
  'events:read',
  'rules:read',
  'indicators:read',
  'system:read',
] as const satisfies readonly Right[]
const ANALYST = [
  ...VIEWER,
  'incidents:write',
  'events:export',
  'indicators:write',
  'audit:read',
] as const satisfies readonly Right[]
const RESPONDER = [...ANALYST, 'commands:run'] as const satisfies readonly Right[]
const ENGINEER = [
  ...RESPONDER,
  'fleet:write',
  'fleet:enrol',
  'events:import',
  'indicators:feeds',
] as const satisfies readonly Right[]

/** Each role holds all that the one before it holds. */
export const ROLE_RIGHTS: Readonly<Record<Role, readonly Right[]>> = {
  viewer: VIEWER,
  analyst: ANALYST,
  responder: RESPONDER,
  engineer: ENGINEER,
  admin: RIGHTS,
}

export function may(role: Role, right: Right): boolean {
  return ROLE_RIGHTS[role].includes(right)
}
