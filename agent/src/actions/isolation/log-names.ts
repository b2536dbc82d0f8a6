/** Log names of isolation. Fields: command_id, gap_ms, why, error. */
export const LOG = {
  rolledBack: 'actions.isolation.rolled_back',
  rollBackUnverified: 'actions.isolation.roll_back_unverified',
  drifted: 'actions.isolation.drifted',
  reassertFailed: 'actions.isolation.reassert_failed',
  firewallUnreadable: 'actions.isolation.firewall_unreadable',
  released: 'actions.isolation.released',
  leaseOverdue: 'actions.isolation.lease_overdue',
  resumed: 'actions.isolation.resumed',
  unexpectedTable: 'actions.isolation.unexpected_table_found',
  endUnreported: 'actions.isolation.end_unreported',
  stateUnwritable: 'actions.isolation.state_unwritable',
  stateLost: 'actions.isolation.state_lost',
  releaseFailed: 'actions.isolation.release_failed',
  leaseFailed: 'actions.isolation.lease_failed',
} as const
