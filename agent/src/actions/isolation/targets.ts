/** Whom to try in order to prove that nobody is reached: those this host really talked to first, since they were there a moment ago. */
import type { NetworkFacts } from '../../platform/platform.ts'
import type { OpenAddress } from './controller-address.ts'
import type { Target } from './state.ts'

const HTTPS = 443
const DNS = 53
/** discard: nobody serves it. */
const DISCARD = 9
/** All nodes of a link: an address to send to on any link, even without a neighbour. */
const ALL_NODES = 'ff02::1'

export function foreignTargets(network: NetworkFacts, controllers: readonly OpenAddress[]): readonly Target[] {
  const open = new Set(controllers.map((c) => `${c.ip} ${c.port}`))
  const peers = network.peers().filter((p) => !open.has(`${p.ip} ${p.port}`))
  const near = [...network.gateways(), ...network.neighbours()].filter((n) => !controllers.some((c) => c.ip === n.ip))
  // A controller on another port is foreign too, and the one host that is surely routed to.
  const others = controllers.map((c) => ({
    family: c.family,
    ip: c.link === undefined ? c.ip : `${c.ip}%${c.link}`,
    port: open.has(`${c.ip} ${DISCARD}`) ? DISCARD + 1 : DISCARD,
  }))
  const target = (name: Target['name'], ip: string, port: number, reachable_before = false): Target => ({
    name,
    ip,
    port,
    reachable_before,
  })
  const of = (family: 4 | 6) => ({
    peers: peers.filter((p) => p.family === family),
    near: near.filter((n) => n.family === family),
    others: others.filter((o) => o.family === family),
  })
  const v4 = of(4)
  const v6 = of(6)
  const someone = [...v4.near, ...v4.peers, ...v4.others, ...v6.near, ...v6.peers, ...v6.others][0]
  const resolvers = network.resolvers().filter((ip) => !ip.startsWith('127.') && ip !== '::1')
  const gateway = v4.near[0]
  const link = network.ipv6Links()[0]
  return each([
    ...v4.peers.slice(0, 3).map((p) => target('tcp-new', p.ip, p.port, true)),
    ...v4.near.slice(0, 2).map((n) => target('tcp-new', n.ip, HTTPS)),
    ...v4.others.slice(0, 1).map((o) => target('tcp-new', o.ip, o.port)),
    ...(someone ? [target('udp', someone.ip, HTTPS), target('icmp', someone.ip, 0)] : []),
    ...resolvers.slice(0, 2).map((ip) => target('dns', ip, DNS)),
    ...(gateway ? [target('dns', gateway.ip, DNS)] : []),
    ...v6.peers.slice(0, 2).map((p) => target('ipv6', p.ip, p.port, true)),
    ...v6.near.slice(0, 1).map((n) => target('ipv6', n.ip, HTTPS)),
    ...v6.others.slice(0, 1).map((o) => target('ipv6', o.ip, o.port)),
    ...(link === undefined ? [] : [target('ipv6', `${ALL_NODES}%${link}`, DISCARD)]),
  ])
}

/** Once; the first mention knows best whether it was reachable. */
function each(targets: readonly Target[]): readonly Target[] {
  const seen = new Set<string>()
  return targets.filter(({ name, ip, port }) => {
    const key = `${name} ${ip} ${port}`
    return !seen.has(key) && seen.add(key)
  })
}
