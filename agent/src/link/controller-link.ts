import type { Result } from '@firebreak/shared/result.ts'

/** What actions need of the connection to the controller: nothing but a proof that it is there. */
export interface ControllerLink {
  /** Addresses that an isolated host must still reach: every controller of the trust file, resolved, and the live peer. */
  controllers(): Promise<readonly ControllerAddress[]>
  /** Asks the controller for a signed answer to a fresh nonce over the live connection, connecting again if need be. Returns the time it took, ms. */
  confirm(timeoutMs: number): Promise<Result<number, 'unreachable' | 'bad_signature'>>
}

export interface ControllerAddress {
  readonly ip: string
  readonly port: number
}
