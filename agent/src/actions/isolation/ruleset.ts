/**
 * The rules of an isolated host, as one nft transaction. Before everybody else's chains (raw - 10), so that a drop here is the last
 * word: an accept of another table cannot take it back (nft(8), "base chains"), while its own drops still hold.
 * Source: design 5; the research behind it: reliability-security 3.10 and facts 2 and 3.
 */
import { isIPv4 } from 'node:net'
import type { OpenAddress } from './controller-address.ts'

/** raw is -300; connection tracking (-200) and address translation come later, so no rule here may use `ct`. */
const PRIORITY = -310

/** Counters of dropped packets: hook and protocol, so that a probe can be matched with its drop. */
export const DROP_COUNTERS = [
  'in_tcp',
  'in_udp',
  'in_icmp',
  'in_other',
  'out_tcp',
  'out_udp',
  'out_icmp',
  'out_other',
  'forwarded',
] as const
export type DropCounter = (typeof DROP_COUNTERS)[number]

export interface RulesetInput {
  readonly controllers: readonly OpenAddress[]
  /** IPv4 addresses that lease renewals may go to; the broadcast of a rebind is always open. */
  readonly dhcpServers: readonly string[]
  /** Only sockets of this user reach a controller. */
  readonly agentUid: number
  /**
   * Not yet confirmed: the rules stop dropping by themselves after so many seconds, agent or no agent (a set whose elements time
   * out; fact 3). Left out: they hold until they are taken away.
   */
  readonly lapseAfterS?: number | undefined
}

/** Same input, same text. Adding first makes the delete succeed on a host without the table; all of it is one transaction. */
export function isolationRuleset(input: RulesetInput): string {
  const v4 = input.controllers.filter((c) => c.family === 4)
  const v6 = input.controllers.filter((c) => c.family === 6 && c.link === undefined)
  const onLink = input.controllers.filter((c) => c.link !== undefined)
  const armed = input.lapseAfterS === undefined ? [] : ['meta nfproto != @armed accept']
  const from = 'tcp flags & (syn | ack) != syn accept'
  const byAgent = `meta skuid ${input.agentUid}`
  return [
    'add table inet firebreak',
    'delete table inet firebreak',
    'table inet firebreak {',
    ...DROP_COUNTERS.map((name) => `  counter ${name} { }`),
    ...set('controllers4', 'ipv4_addr . inet_service', v4.map(pair)),
    ...set('controllers6', 'ipv6_addr . inet_service', v6.map(pair)),
    ...set(
      'dhcp_servers',
      'ipv4_addr',
      [...new Set(['255.255.255.255', ...input.dhcpServers.filter((ip) => isIPv4(ip))])].sort(),
    ),
    ...(input.lapseAfterS === undefined ? [] : armedSet(input.lapseAfterS)),
    ...chain('input', [
      ...armed,
      'iif "lo" accept',
      // Answers of a controller; a bare SYN would be somebody who connects to us from its port.
      `ip saddr . tcp sport @controllers4 ${from}`,
      `ip6 saddr . tcp sport @controllers6 ${from}`,
      ...onLink.map((c) => `iifname "${c.link}" ip6 saddr ${c.ip} tcp sport ${c.port} ${from}`),
      // A hop limit of 255 cannot come from beyond the link (RFC 4861, 7.1).
      'ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept',
      // A switch that snoops multicast forgets a host that does not answer its queries, and with it neighbour discovery.
      'ip6 saddr fe80::/10 ip6 hoplimit 1 icmpv6 type mld-listener-query accept',
      // Path MTU discovery of the connection to the controller (RFC 1191, RFC 8201).
      'icmp type destination-unreachable icmp code frag-needed accept',
      'icmpv6 type packet-too-big accept',
      'meta nfproto ipv4 udp sport 67 udp dport 68 accept',
      'ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept',
      ...dropped('in'),
    ]),
    ...chain('output', [
      ...armed,
      'oif "lo" accept',
      `${byAgent} ip daddr . tcp dport @controllers4 accept`,
      `${byAgent} ip6 daddr . tcp dport @controllers6 accept`,
      ...onLink.map((c) => `${byAgent} oifname "${c.link}" ip6 daddr ${c.ip} tcp dport ${c.port} accept`),
      'ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept',
      'ip6 daddr ff02::16 ip6 hoplimit 1 icmpv6 type mld2-listener-report accept',
      'ip daddr @dhcp_servers udp sport 68 udp dport 67 accept',
      // All DHCP servers and relays of the link (RFC 8415, 7.1).
      'ip6 daddr ff02::1:2 udp sport 546 udp dport 547 accept',
      ...dropped('out'),
    ]),
    ...chain('forward', [...armed, 'counter name forwarded']),
    '}',
    '',
  ].join('\n')
}

/** `ruleset` (a listing of nft) without our table: what belongs to everybody else. */
export function withoutOurTable(ruleset: string): string {
  const lines = ruleset.split('\n')
  const start = lines.indexOf('table inet firebreak {')
  if (start < 0) return ruleset
  const end = lines.indexOf('}', start)
  return [...lines.slice(0, start), ...lines.slice(end + 1)].join('\n')
}

function chain(hook: 'input' | 'output' | 'forward', rules: readonly string[]): readonly string[] {
  const base = `type filter hook ${hook} priority ${PRIORITY}; policy drop;`
  return [`  chain ${hook} {`, ...[base, ...rules].map((rule) => `    ${rule}`), '  }']
}

/** What was not accepted: counted, then dropped; the policy drops the rest. */
function dropped(side: 'in' | 'out'): readonly string[] {
  return [
    `meta l4proto tcp counter name ${side}_tcp drop`,
    `meta l4proto udp counter name ${side}_udp drop`,
    // ICMP and ICMPv6 by number (RFC 790, RFC 4443): a small Debian has no /etc/protocols, and nft needs it for the names.
    `meta l4proto { 1, 58 } counter name ${side}_icmp drop`,
    `counter name ${side}_other`,
  ]
}

function set(name: string, type: string, elements: readonly string[]): readonly string[] {
  const list = elements.length === 0 ? [] : [`    elements = { ${elements.join(', ')} }`]
  return [`  set ${name} {`, `    type ${type}`, ...list, '  }']
}

function armedSet(seconds: number): readonly string[] {
  const elements = ['ipv4', 'ipv6'].map((family) => `${family} timeout ${seconds}s`).join(', ')
  return ['  set armed {', '    type nf_proto', '    flags timeout', `    elements = { ${elements} }`, '  }']
}

function pair(address: OpenAddress): string {
  return `${address.ip} . ${address.port}`
}
