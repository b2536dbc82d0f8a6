import { expect, it } from 'vitest'
import { isolationRuleset, withoutOurTable } from './ruleset.ts'

const input = {
  controllers: [
    { family: 4, ip: '192.0.2.1', port: 443 },
    { family: 6, ip: '2001:db8::1', port: 443 },
    { family: 6, ip: 'fe80::1', port: 443, link: 'eth0' },
  ],
  dhcpServers: ['192.0.2.7'],
  agentUid: 0,
} as const

it('accepts what is needed and nothing else', () => {
  const accepted = isolationRuleset(input)
    .split('\n')
    .filter((line) => line.endsWith(' accept'))
    .map((line) => line.trim())
  expect(accepted).toMatchInlineSnapshot(`
    [
      "iif "lo" accept",
      "ip saddr . tcp sport @controllers4 tcp flags & (syn | ack) != syn accept",
      "ip6 saddr . tcp sport @controllers6 tcp flags & (syn | ack) != syn accept",
      "iifname "eth0" ip6 saddr fe80::1 tcp sport 443 tcp flags & (syn | ack) != syn accept",
      "ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept",
      "ip6 saddr fe80::/10 ip6 hoplimit 1 icmpv6 type mld-listener-query accept",
      "icmp type destination-unreachable icmp code frag-needed accept",
      "icmpv6 type packet-too-big accept",
      "meta nfproto ipv4 udp sport 67 udp dport 68 accept",
      "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",
      "oif "lo" accept",
      "meta skuid 0 ip daddr . tcp dport @controllers4 accept",
      "meta skuid 0 ip6 daddr . tcp dport @controllers6 accept",
      "meta skuid 0 oifname "eth0" ip6 daddr fe80::1 tcp dport 443 accept",
      "ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept",
      "ip6 daddr ff02::16 ip6 hoplimit 1 icmpv6 type mld2-listener-report accept",
      "ip daddr @dhcp_servers udp sport 68 udp dport 67 accept",
      "ip6 daddr ff02::1:2 udp sport 546 udp dport 547 accept",
    ]
  `)
})

it('drops in all three chains, before everybody else', () => {
  const chains = isolationRuleset(input).match(/type filter hook \w+ priority -310; policy drop;/g)
  expect(chains).toHaveLength(3)
})

it('gives the same text for the same host', () => {
  expect(isolationRuleset(input)).toBe(isolationRuleset({ ...input, dhcpServers: ['192.0.2.7', '192.0.2.7'] }))
})

it('lets nothing but an address into the list of DHCP servers', () => {
  const text = isolationRuleset({ ...input, dhcpServers: ['1.2.3.4 } ; flush ruleset', '::1'] })
  expect(text).toContain('elements = { 255.255.255.255 }')
})

it('takes its own table out of a listing and leaves every byte of others', () => {
  const others = ['table ip a {\n\tchain c {\n\t}\n}\n', 'table inet firebreakers {\n}\n']
  const ours = 'table inet firebreak {\n\tchain c {\n\t\ttcp dport 1 drop\n\t}\n}\n'
  expect(withoutOurTable(others[0] + ours + others[1])).toBe(others.join(''))
  expect(withoutOurTable(ours)).toBe('')
  expect(withoutOurTable(others.join(''))).toBe(others.join(''))
})
