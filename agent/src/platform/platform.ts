import type { Result } from '@firebreak/shared/result.ts'
import type { ProcessIdentity } from './linux/process-identity.ts'

/** What differs by system. Nothing here decides: actions do. A system that cannot do a part refuses with `unsupported`. */
export interface Platform {
  readonly system: NodeJS.Platform
  readonly firewall: Firewall
  readonly network: NetworkFacts
  readonly processes: Processes
  /** Random at each boot; tells whether a time since boot still means something. */
  bootId(): string
}

/** The table of ours in the host's packet filter, and a view of everybody's rules. */
export interface Firewall {
  /** Whether `trial` would be taken: looks for the tool and the right to use it and lets the kernel check the rules. Changes nothing. */
  canRun(trial: string): Promise<Result<void, 'unsupported'>>
  /** All rules of the host, ours too, without counters. Throws `firewall_unreadable`. */
  ruleset(): Promise<string>
  /** Our table without counters; undefined when there is none. Throws `firewall_unreadable`. */
  table(): Promise<string | undefined>
  /** `text` (of `actions/isolation/ruleset.ts`) as one transaction: the whole of it or nothing. */
  apply(text: string): Promise<Result<void, 'rejected'>>
  /** Removes our table; nothing to remove is fine. */
  deleteTable(): Promise<Result<void, 'rejected'>>
  /** Packets counted by the named counters of our table; empty when there is no table. */
  counters(): Promise<ReadonlyMap<string, number>>
  /** Calls back on any change of anybody's rules, until stopped. Not a promise to see each one: poll beside it. */
  watch(onChange: () => void): Watch
}

export interface Watch {
  /** Resolves when nothing of it is left. */
  stop(): Promise<void>
}

/** Where the host can talk to now, for probes and for what must stay open. Every list is bounded; what cannot be read is empty. */
export interface NetworkFacts {
  gateways(): readonly Neighbour[]
  /** Remote ends of open TCP connections, without loopback. */
  peers(): readonly Peer[]
  /** Hosts of the same link that answered lately. */
  neighbours(): readonly Neighbour[]
  /** Configured DNS servers. */
  resolvers(): readonly string[]
  /** DHCP servers that gave this host its addresses. */
  dhcpServers(): readonly string[]
  /** Ways around the host's packet filter, in words: bridged uplinks, macvlan devices. */
  bypasses(): readonly string[]
  /** Interfaces with an IPv6 link-local address. */
  ipv6Links(): readonly string[]
  /** Closes open TCP connections to anybody but `keep` and loopback. Returns how many; undefined when the system cannot. */
  closeConnections(keep: readonly Peer[]): Promise<number | undefined>
  /** One ICMP echo; `missing`: there is no tool to send it. */
  ping(
    ip: string,
    timeoutMs: number,
  ): Promise<{ readonly answer: 'open' | 'silent' | 'missing'; readonly detail: string }>
}

/** An address of the same link; an IPv6 link-local one carries its interface: fe80::1%eth0. */
export interface Neighbour {
  readonly ip: string
  readonly family: 4 | 6
}

export interface Peer extends Neighbour {
  readonly port: number
}

export interface Processes {
  supported(): Result<void, 'unsupported'>
  /** Everybody's pid now. */
  list(): readonly number[]
  identity(pid: number): ProcessIdentity | undefined
  /** Throws nothing for a process that is gone (false) and `not_permitted` when the system refuses. */
  signal(pid: number, signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): boolean
}
