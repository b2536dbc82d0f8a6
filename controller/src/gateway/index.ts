export interface Gateway {
  /** Resolves when agents can connect, with the port that is listened on. Faults: `gateway_unavailable`. */
  start(): Promise<{ readonly port: number }>
  /** Says goodbye to every agent, waits for what is being stored. */
  stop(): Promise<void>
  /** Agents connected now. */
  connected(): number
}
