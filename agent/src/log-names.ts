/** Log lines of the agent as a whole; each room has its own list. */
export const AGENT_LOG = {
  started: 'agent.run.started',
  stopped: 'agent.run.stopped',
  trustExpired: 'agent.trust.expired',
  collectorStarted: 'agent.collector.started',
  collectorBlind: 'agent.collector.blind',
  socketFailed: 'agent.socket.failed',
  notifyFailed: 'agent.service_manager.unreachable',
} as const
