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
  released: 'orders.release_code.accepted',
  releaseCodeWrong: 'orders.release_code.refused',
  actionFailed: 'orders.action.failed',
  /** It took too long and was not waited for; told again when it ends after all. */
  actionHung: 'orders.action.hung',
  actionEndedLate: 'orders.action.ended_late',
} as const
