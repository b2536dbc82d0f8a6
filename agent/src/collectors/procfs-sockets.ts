/** Sockets as /proc/net shows them. Source: proc_net(5), include/net/tcp_states.h of Linux. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { MiB } from '@firebreak/shared/wire/units.ts'

/** A table of more bytes than this (about 100,000 sockets) is read up to here, and the rest is said to be unseen. */
const MAX_TABLE_BYTES = 16 * MiB

/** Linux' default when /proc/sys/net/ipv4/ip_local_port_range cannot be read. */
const EPHEMERAL_FROM = 32_768

export const TABLES = ['tcp', 'tcp6', 'udp', 'udp6'] as const
export type Table = (typeof TABLES)[number]

export interface Address {
  readonly ip: string
  readonly port: number
}
export interface Socket {
  readonly transport: 'tcp' | 'udp'
  readonly state: number
  readonly local: Address
  readonly remote: Address
  readonly uid: string
  /** '0' when no process holds it any more. */
  readonly inode: string
}
export interface SocketTable {
  readonly sockets: readonly Socket[]
  readonly isWhole: boolean
}

export const TCP = { established: 0x01, synSent: 0x02, synReceived: 0x03, timeWait: 0x06, close: 0x07, listen: 0x0a }

/** Undefined when the system has no such table (IPv6 switched off). */
export function readSocketTable(procRoot: string, table: Table): SocketTable | undefined {
  const text = readBounded(`${procRoot}/net/${table}`)
  if (!text) return undefined
  const sockets: Socket[] = []
  const transport = table.startsWith('tcp') ? 'tcp' : 'udp'
  const lines = text.content.split('\n')
  // The last line may be half a line when the table was not read to its end.
  const end = text.isWhole ? lines.length : lines.length - 1
  for (let at = 1; at < end; at++) {
    const socket = parseSocket(lines[at] ?? '', transport)
    if (socket) sockets.push(socket)
  }
  return { sockets, isWhole: text.isWhole }
}

function parseSocket(line: string, transport: 'tcp' | 'udp'): Socket | undefined {
  const fields = line.trim().split(/ +/, 10)
  const local = parseAddress(fields[1])
  const remote = parseAddress(fields[2])
  const state = Number.parseInt(fields[3] ?? '', 16)
  const [uid, inode] = [fields[7], fields[9]]
  if (!local || !remote || !Number.isInteger(state) || uid === undefined || inode === undefined) return undefined
  return { transport, state, local, remote, uid, inode }
}

/** `0100007F:1F90`: the address in the byte order of the host, word by word, the port as a number. Little-endian hosts only, as Node's. */
export function parseAddress(text: string | undefined): Address | undefined {
  const [hex, portHex] = text?.split(':') ?? []
  if (hex === undefined || portHex === undefined) return undefined
  const port = Number.parseInt(portHex, 16)
  const words = hex.match(/[0-9A-Fa-f]{8}/g)
  if (!words || words.length * 8 !== hex.length || !(port >= 0 && port <= 65_535)) return undefined
  const bytes = words.flatMap((word) => [...Buffer.from(word, 'hex').reverse()])
  if (bytes.length === 4) return { ip: bytes.join('.'), port }
  return bytes.length === 16 ? { ip: ipv6Text(bytes), port } : undefined
}

/** RFC 5952; an IPv4-mapped address (RFC 4291, 2.5.5.2) is the IPv4 address that it stands for. */
export function ipv6Text(bytes: readonly number[]): string {
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[2 * at] ?? 0) << 8) | (bytes[2 * at + 1] ?? 0))
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) return bytes.slice(12).join('.')
  let best = { from: -1, length: 1 }
  for (let from = 0; from < 8; from++) {
    let length = 0
    while (from + length < 8 && groups[from + length] === 0) length += 1
    if (length > best.length) best = { from, length }
  }
  const hex = groups.map((group) => group.toString(16))
  if (best.from < 0) return hex.join(':')
  return `${hex.slice(0, best.from).join(':')}::${hex.slice(best.from + best.length).join(':')}`
}

/** A TCP socket that listens, or a UDP socket that is bound without a peer. */
export function isListening(socket: Socket): boolean {
  return socket.transport === 'tcp'
    ? socket.state === TCP.listen
    : socket.state === TCP.close && socket.remote.port === 0
}

/** An unconnected UDP socket on an ephemeral port is a client that waits for an answer. */
export function isUdpClient(socket: Socket, ephemeralFrom: number): boolean {
  return socket.transport === 'udp' && socket.local.port >= ephemeralFrom
}

export function firstEphemeralPort(procRoot: string): number {
  try {
    const first = Number.parseInt(readFileSync(`${procRoot}/sys/net/ipv4/ip_local_port_range`, 'latin1'), 10)
    return Number.isInteger(first) ? first : EPHEMERAL_FROM
  } catch {
    // Not shown in some containers; the default is what most have.
    return EPHEMERAL_FROM
  }
}

function readBounded(path: string): { content: string; isWhole: boolean } | undefined {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const pieces: Buffer[] = []
    let total = 0
    while (total < MAX_TABLE_BYTES) {
      const piece = Buffer.allocUnsafe(64 * 1_024)
      const length = readSync(fd, piece)
      if (length === 0) return { content: Buffer.concat(pieces).toString('latin1'), isWhole: true }
      pieces.push(piece.subarray(0, length))
      total += length
    }
    return { content: Buffer.concat(pieces).toString('latin1'), isWhole: false }
  } finally {
    closeSync(fd)
  }
}
