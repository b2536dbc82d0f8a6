/** Every log line of the orders room. */
export const ORDERS_LOG = {
  refused: 'orders.command.refused',
  received: 'orders.command.received',
  repeated: 'orders.command.repeated',
  started: 'orders.command.started',
  ended: 'orders.command.ended',
  reconciled: 'orders.command.reconciled',
  refusalsUnanswered: 'orders.refusals.unanswered',
  journalDamaged: 'orders.journal.damaged',
  journalUnwritable: 'orders.journal.unwritable',
  journalRewound: 'orders.journal.rolled_back',
  ceilingUnusable: 'orders.ceiling.unusable',
  released: 'orders.release_code.accepted',
  releaseCodeWrong: 'orders.release_code.refused',
  actionFailed: 'orders.action.failed',
} as const
