export type { Action, Actions, Effect, Order, Reconciled } from './action.ts'
export type { ActionDeps, ActionTable, Ended } from './actions.ts'
export type { Containment } from './isolation/isolation-parts.ts'
