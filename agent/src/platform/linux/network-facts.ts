/** Where this host can talk to, read from /proc, /sys and the files of its resolver and DHCP client. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { Neighbour, NetworkFacts, Peer } from '../platform.ts'
import { findProgram, run } from './program.ts'

const MAX_FILE_BYTES = 4 * 1024 * 1024
const MAX_ENTRIES = 256
/** tcp(7) state of an open connection in /proc/net/tcp. */
const ESTABLISHED = '01'
/** Flags of /proc/net/route and ipv6_route (route.h): RTF_UP, RTF_GATEWAY; of arp: ATF_COM. */
const RTF_GATEWAY = 0x2
const ATF_COM = 0x2
const DHCP_LEASE_FOLDERS = [
  '/run/systemd/netif/leases',
  '/var/lib/dhcp',
  '/var/lib/dhclient',
  '/var/lib/NetworkManager',
]

export interface NetworkFactsOptions {
  /** Its `self/net` is of the network namespace of the agent. */
  readonly proc?: string
  readonly sys?: string
  readonly resolvConf?: string
  readonly leaseFolders?: readonly string[]
}

export function createNetworkFacts(options: NetworkFactsOptions = {}): NetworkFacts {
  const net = join(options.proc ?? '/proc', 'self/net')
  const sys = options.sys ?? '/sys/class/net'
  const rows = (file: string) =>
    read(join(net, file))
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
  return {
    gateways() {
      const v4 = rows('route')
        .filter((f) => f[1] === '00000000' && (Number.parseInt(f[3] ?? '0', 16) & RTF_GATEWAY) !== 0)
        .map((f): Neighbour => ({ ip: ipv4OfHex(f[2] ?? ''), family: 4 }))
      const v6 = rows('ipv6_route')
        .filter((f) => /^0{32}$/.test(f[0] ?? '') && f[1] === '00')
        .filter((f) => (Number.parseInt(f[8] ?? '0', 16) & RTF_GATEWAY) !== 0)
        .map((f): Neighbour => ({ ip: withZone(ipv6OfHex(f[4] ?? '', false), f[9]), family: 6 }))
      return unique([...v4, ...v6])
    },
    peers() {
      const v4 = rows('tcp').filter((f) => f[3] === ESTABLISHED)
      const v6 = rows('tcp6').filter((f) => f[3] === ESTABLISHED)
      return unique(
        [...v4.map((f) => peerOf(f[2], 4)), ...v6.map((f) => peerOf(f[2], 6))].filter((p) => p !== undefined),
      )
    },
    neighbours: () =>
      unique(
        rows('arp')
          .slice(1)
          .filter((f) => (Number.parseInt(f[2] ?? '0', 16) & ATF_COM) !== 0 && isIP(f[0] ?? '') === 4)
          .map((f): Neighbour => ({ ip: f[0] ?? '', family: 4 })),
      ),
    resolvers: () =>
      [...read(options.resolvConf ?? '/etc/resolv.conf').matchAll(/^\s*nameserver\s+(\S+)/gm)]
        .map((m) => m[1] ?? '')
        .filter((ip) => isIP(ip) !== 0)
        .slice(0, 3),
    dhcpServers: () => dhcpServers(options.leaseFolders ?? DHCP_LEASE_FOLDERS),
    bypasses: () => bypasses(sys),
    ipv6Links: () =>
      rows('if_inet6')
        .filter((f) => f[3] === '20' && f[5] !== undefined)
        .map((f) => f[5] ?? '')
        .slice(0, MAX_ENTRIES),
    closeConnections,
    ping,
  }
}

/** ss(8) -K needs CONFIG_INET_DIAG_DESTROY; without it nothing is closed and the rules alone keep the bytes from moving. */
async function closeConnections(keep: readonly Peer[]): Promise<number | undefined> {
  const ss = findProgram('ss')
  if (ss === undefined) return undefined
  const kept = keep.map((p) => `dst ${p.family === 6 ? `[${withoutZone(p.ip)}]` : p.ip}:${p.port}`)
  const filter = `! ( ${['dst 127.0.0.0/8', 'dst [::1]', ...kept].join(' or ')} )`
  const ran = await run([ss, '-HKtn', 'state', 'connected', filter], { timeoutMs: 2_000 })
  return ran.code === 0 ? ran.stdout.split('\n').filter((line) => line !== '').length : undefined
}

async function ping(ip: string, timeoutMs: number): ReturnType<NetworkFacts['ping']> {
  const path = findProgram('ping')
  if (path === undefined) return { answer: 'missing', detail: 'ping is not installed' }
  const seconds = String(Math.max(1, Math.floor(timeoutMs / 1000)))
  const ran = await run([path, '-n', '-c', '1', '-W', seconds, '--', ip], { timeoutMs: timeoutMs + 500 })
  const said = (ran.stderr === '' ? ran.stdout : ran.stderr).trim().split('\n').at(-1) ?? ''
  return { answer: ran.code === 0 ? 'open' : 'silent', detail: said.slice(0, 200) }
}

/** systemd-networkd and NetworkManager write SERVER_ADDRESS, dhclient `option dhcp-server-identifier`. */
function dhcpServers(folders: readonly string[]): readonly string[] {
  const found = new Set<string>()
  for (const folder of folders) {
    for (const file of folderEntries(folder)) {
      for (const match of read(join(folder, file)).matchAll(
        /(?:^SERVER_ADDRESS=|dhcp-server-identifier\s+)(\d+\.\d+\.\d+\.\d+)/gm,
      )) {
        if (isIP(match[1] ?? '') === 4 && found.size < 16) found.add(match[1] ?? '')
      }
    }
  }
  return [...found]
}

/** Frames between ports of a bridge, and those of macvlan devices given to other namespaces, never meet the inet hooks of this host. */
function bypasses(sys: string): readonly string[] {
  const found: string[] = []
  for (const name of folderEntries(sys)) {
    const physical = existsSync(join(sys, name, 'device'))
    if (physical && existsSync(join(sys, name, 'brport'))) found.push(`${name} is a port of a bridge`)
    for (const entry of folderEntries(join(sys, name))) {
      if (/^upper_(macvlan|macvtap|ipvlan|ipvtap)/.test(entry)) found.push(`${name} carries ${entry.slice(6)}`)
    }
    if (
      existsSync(join(sys, name, 'device/sriov_numvfs')) &&
      read(join(sys, name, 'device/sriov_numvfs')).trim() !== '0'
    ) {
      found.push(`${name} has SR-IOV functions`)
    }
  }
  return found.slice(0, 4)
}

/** `ADDRESS:PORT` of /proc/net/tcp{,6}; an IPv4-mapped address is the IPv4 one. Loopback is nobody. */
function peerOf(text: string | undefined, family: 4 | 6): Peer | undefined {
  const [address = '', port = ''] = (text ?? '').split(':')
  const mapped = family === 6 && address.startsWith('0000000000000000FFFF0000')
  const v4 = family === 4 || mapped
  const ip = v4 ? ipv4OfHex(address.slice(-8)) : ipv6OfHex(address, true)
  if (isIP(ip) === 0 || ip.startsWith('127.') || ip === '::1') return undefined
  return { ip, port: Number.parseInt(port, 16), family: v4 ? 4 : 6 }
}

/** The kernel prints the network-order word as a number of the host, and the hosts we run on are little-endian. */
function ipv4OfHex(hex: string): string {
  return (hex.match(/../g) ?? [])
    .reverse()
    .map((byte) => Number.parseInt(byte, 16))
    .join('.')
}

/** /proc/net/tcp6 prints four words in host order, ipv6_route sixteen bytes in network order. */
function ipv6OfHex(hex: string, words: boolean): string {
  const bytes = words
    ? (hex.match(/.{8}/g) ?? []).map((word) => (word.match(/../g) ?? []).reverse().join('')).join('')
    : hex
  const groups = (bytes.match(/.{4}/g) ?? []).join(':')
  return isIP(groups) === 6 ? new URL(`http://[${groups}]`).hostname.slice(1, -1) : ''
}

function withZone(ip: string, link: string | undefined): string {
  return /^fe[89ab]/.test(ip) && link !== undefined ? `${ip}%${link}` : ip
}

function withoutZone(ip: string): string {
  return ip.split('%')[0] ?? ip
}

function unique<T extends Neighbour & { readonly port?: number }>(list: readonly T[]): readonly T[] {
  return [...new Map(list.filter((n) => n.ip !== '').map((n) => [`${n.ip} ${n.port ?? ''}`, n])).values()].slice(
    0,
    MAX_ENTRIES,
  )
}

/** What is not there or not readable tells nothing; the lists are hints for probes, never a promise. */
function read(path: string): string {
  try {
    if (statSync(path).size > MAX_FILE_BYTES) return ''
    return readFileSync(path, 'latin1').slice(0, MAX_FILE_BYTES)
  } catch {
    return ''
  }
}

function folderEntries(path: string): readonly string[] {
  try {
    return readdirSync(path).slice(0, MAX_ENTRIES)
  } catch {
    return []
  }
}
