import { KiB, MiB } from './units.ts'

/** Limits of one agent connection; each is enforced by both sides. Source: threats T3 and T5, ws security advisories CVE-2026-48779 and CVE-2026-62389. */
export const WIRE = {
  path: '/agent/v1',
  subprotocol: 'firebreak.v1',
  /** One WebSocket message, encoded. */
  maxFrameBytes: 512 * KiB,
  /** Before the other side is authenticated. */
  maxPreAuthFrameBytes: 64 * KiB,
  maxPreAuthAgentFrameBytes: 4 * KiB,
  /** One control message, decoded. */
  maxControlBytes: 512 * KiB,
  /** One batch of events, decoded. */
  maxBatchBytes: 4 * MiB,
  maxBatchEvents: 1_000,
  /** One event, decoded JSON text. */
  maxEventBytes: 256 * KiB,
  /** Batches an agent may have on the way without an ack; what else it may is told by the controller (`credit`). */
  maxBatchesInFlight: 8,
  handshakeMs: 5_000,
  pingMs: 15_000,
  deadMs: 45_000,
} as const

/** Options of ws (8.21.1 or later) on both sides; compression stays off because a peer could make it a bomb. */
export const WS_LIMITS = {
  maxPayload: WIRE.maxFrameBytes,
  maxFragments: 16,
  maxBufferedChunks: 1_024,
  perMessageDeflate: false,
} as const

/** WebSocket close codes of ours (RFC 6455, 7.4.2: 4000 to 4999 are private). */
export const CLOSE = {
  malformed: 4400,
  unauthenticated: 4401,
  refused: 4403,
  timeout: 4408,
  replaced: 4409,
  too_large: 4413,
  too_many: 4429,
  internal: 4500,
} as const
