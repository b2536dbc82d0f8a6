/**
 * Tries the world instead of believing a return code. A silence proves nothing by itself, since the other side may be down: it counts
 * as `blocked` only when the rules counted a drop of that protocol meanwhile, or when the kernel refused to send (EPERM).
 */
import { createSocket } from 'node:dgram'
import { connect, createServer, isIPv4 } from 'node:net'
import type { Probe } from '@firebreak/shared/commands/isolate-host.ts'
import type { Result } from '@firebreak/shared/result.ts'
import type { Firewall, NetworkFacts } from '../../platform/platform.ts'
import type { DropCounter } from './ruleset.ts'
import type { Target } from './state.ts'

const TCP_TIMEOUT_MS = 800
const UDP_TIMEOUT_MS = 500
const PING_TIMEOUT_MS = 1_000

type Confirm = () => Promise<Result<number, string>>
type Tried = { readonly saw: 'open' | 'refused_to_send' | 'silent' | 'no_way'; readonly detail: string }

export interface ProbeParts {
  readonly firewall: Firewall
  readonly network: NetworkFacts
  /** A signed answer of the controller; its time limit is the longest part of the whole. */
  readonly confirm: Confirm
  readonly tcpTimeoutMs?: number | undefined
}

export interface Proof {
  readonly probes: readonly Probe[]
  /** Packets that left nobody while it was tried. */
  readonly dropped: number
}

/** All at once, within 3 s when the answer of the controller is asked for no longer. */
export async function probeIsolation(targets: readonly Target[], parts: ProbeParts): Promise<Proof> {
  const before = await parts.firewall.counters()
  const [foreign, own] = await Promise.all([
    Promise.all(targets.map(async (target) => ({ target, tried: await tryTarget(target, parts) }))),
    probeOwn(parts.confirm),
  ])
  const after = await parts.firewall.counters()
  const grew = (name: DropCounter) => (after.get(name) ?? 0) > (before.get(name) ?? 0)
  const out = (['out_tcp', 'out_udp', 'out_icmp', 'out_other'] as const).map(
    (name) => (after.get(name) ?? 0) - (before.get(name) ?? 0),
  )
  return {
    probes: [
      ...foreign.map(({ target, tried }) => judged(target, tried, grew(counterOf(target)))),
      ...own,
      ...parts.network.bypasses().map(
        (way): Probe => ({
          name: 'bypass',
          target: way,
          expected: 'blocked',
          found: 'unverifiable',
          detail: 'frames on this way do not pass the rules of this host',
        }),
      ),
    ],
    dropped: out.reduce((sum, n) => sum + Math.max(n, 0), 0),
  }
}

/** After the end: loopback, the controller, and whoever had been talked to before. A peer that is gone by now disproves nothing. */
export async function probeRelease(targets: readonly Target[], parts: ProbeParts): Promise<readonly Probe[]> {
  const [reached, own] = await Promise.all([
    Promise.all(
      targets
        .filter((target) => target.reachable_before)
        .map(async (target): Promise<Probe> => {
          const tried = await tryTarget(target, parts)
          const found = tried.saw === 'open' ? 'open' : tried.saw === 'refused_to_send' ? 'blocked' : 'unverifiable'
          return { name: target.name, target: addressOf(target), expected: 'open', found, detail: tried.detail }
        }),
    ),
    probeOwn(parts.confirm),
  ])
  return [...reached, ...own]
}

function judged(target: Target, tried: Tried, counted: boolean): Probe {
  const common = { name: target.name, target: addressOf(target), expected: 'blocked' } as const
  switch (tried.saw) {
    case 'open':
      return { ...common, found: 'open', detail: tried.detail }
    case 'refused_to_send':
      return { ...common, found: 'blocked', detail: tried.detail }
    case 'silent':
      return counted
        ? { ...common, found: 'blocked', detail: `${tried.detail}; the drop was counted` }
        : { ...common, found: 'unverifiable', detail: `${tried.detail}, and no drop was counted` }
    case 'no_way':
      return { ...common, found: 'unverifiable', detail: tried.detail }
    default:
      throw new Error('unhandled answer', { cause: tried.saw satisfies never })
  }
}

async function probeOwn(confirm: Confirm): Promise<readonly Probe[]> {
  return Promise.all([probeLoopback('127.0.0.1'), probeLoopback('::1'), probeController(confirm)])
}

async function probeController(confirm: Confirm): Promise<Probe> {
  const common = { name: 'controller', target: 'the live connection', expected: 'open' } as const
  const answer = await confirm()
  return answer.ok
    ? { ...common, found: 'open', detail: `signed answer after ${Math.round(answer.value)} ms` }
    : { ...common, found: 'blocked', detail: `${answer.code}: ${answer.why}`.slice(0, 512) }
}

function probeLoopback(ip: string): Promise<Probe> {
  const common = { name: 'loopback', target: ip, expected: 'open' } as const
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) => {
      resolve({ ...common, found: 'unverifiable', detail: error.code ?? error.message })
    })
    server.listen({ host: ip, port: 0 }, () => {
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      const judge = ({ saw, detail }: Tried): Probe => ({
        ...common,
        found: saw === 'open' ? 'open' : 'blocked',
        detail,
      })
      resolve(
        tryTcp(ip, port)
          .then(judge)
          .finally(() => server.close()),
      )
    })
  })
}

function tryTarget(target: Target, { network, tcpTimeoutMs }: ProbeParts): Promise<Tried> {
  switch (target.name) {
    case 'tcp-new':
      return tryTcp(target.ip, target.port, tcpTimeoutMs)
    case 'ipv6':
      return target.ip.startsWith('ff') ? tryUdp(target.ip, target.port) : tryTcp(target.ip, target.port, tcpTimeoutMs)
    case 'udp':
    case 'dns':
      return tryUdp(target.ip, target.port)
    case 'icmp':
      return tryPing(target.ip, network)
    default:
      throw new Error('unhandled target', { cause: target.name satisfies never })
  }
}

/** A refusal or a reset is an answer too: something came back. */
function tryTcp(ip: string, port: number, timeout = TCP_TIMEOUT_MS): Promise<Tried> {
  return new Promise((resolve) => {
    const socket = connect({ host: ip, port, timeout })
    const done = (tried: Tried) => {
      socket.destroy()
      resolve(tried)
    }
    socket.once('connect', () => done({ saw: 'open', detail: 'connected' }))
    socket.once('timeout', () => done({ saw: 'silent', detail: `no answer in ${timeout} ms` }))
    socket.once('error', (error: NodeJS.ErrnoException) => done({ saw: sawOf(error.code), detail: error.code ?? '' }))
  })
}

/** A filter that drops in the output hook makes sendto(2) fail with EPERM. */
function tryUdp(ip: string, port: number): Promise<Tried> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv4(ip) ? 'udp4' : 'udp6')
    const timer = setTimeout(() => done({ saw: 'silent', detail: 'not sent in time' }), UDP_TIMEOUT_MS)
    let over = false
    const done = (tried: Tried) => {
      if (over) return
      over = true
      clearTimeout(timer)
      socket.close()
      resolve(tried)
    }
    socket.once('error', (error: NodeJS.ErrnoException) => done({ saw: sawOf(error.code), detail: error.code ?? '' }))
    socket.send(Uint8Array.of(0), port, ip, (error) => {
      const code = error && 'code' in error ? String(error.code) : undefined
      done(error ? { saw: sawOf(code), detail: code ?? '' } : { saw: 'open', detail: 'the packet was sent' })
    })
  })
}

async function tryPing(ip: string, network: NetworkFacts): Promise<Tried> {
  const { answer, detail } = await network.ping(ip, PING_TIMEOUT_MS)
  if (answer === 'open') return { saw: 'open', detail: 'answered' }
  if (answer === 'missing') return { saw: 'no_way', detail }
  return { saw: detail.includes('not permitted') ? 'refused_to_send' : 'silent', detail }
}

function sawOf(code: string | undefined): Tried['saw'] {
  switch (code) {
    case 'ECONNREFUSED':
    case 'ECONNRESET':
      return 'open'
    case 'EPERM':
    case 'EACCES':
      return 'refused_to_send'
    case 'ETIMEDOUT':
      return 'silent'
    default:
      return 'no_way'
  }
}

/** An `ipv6` target of the other kind than TCP is counted with its own protocol. */
function counterOf(target: Target): DropCounter {
  switch (target.name) {
    case 'tcp-new':
      return 'out_tcp'
    case 'ipv6':
      return target.ip.startsWith('ff') ? 'out_udp' : 'out_tcp'
    case 'udp':
    case 'dns':
      return 'out_udp'
    case 'icmp':
      return 'out_icmp'
    default:
      throw new Error('unhandled target', { cause: target.name satisfies never })
  }
}

function addressOf(target: Target): string {
  if (target.port === 0) return target.ip
  return isIPv4(target.ip) ? `${target.ip}:${target.port}` : `[${target.ip}]:${target.port}`
}
