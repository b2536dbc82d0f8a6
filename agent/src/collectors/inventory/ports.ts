/** Ports on which somebody can reach the host, each with the process that holds it where that is ours to see. */
import { present } from '../present.ts'
import type { ProcessLookup } from '../process-lookup.ts'
import {
  type Socket,
  TABLES,
  firstEphemeralPort,
  isListening,
  isUdpClient,
  readSocketTable,
} from '../procfs-sockets.ts'
import { SocketOwners } from '../socket-owners.ts'
import { Findings, type InventorySource } from './source.ts'

export function portsSource(procRoot: string, processes: ProcessLookup, limit: number): InventorySource {
  let sockets: readonly Socket[] = []
  let isWhole = true
  const owners = new SocketOwners(procRoot)
  return {
    name: 'ports',
    kind: 'ports',
    watch: [],
    fast: true,
    version() {
      ;({ sockets, isWhole } = listeningSockets(procRoot))
      return sockets.map(({ transport, local, inode }) => `${transport}|${local.ip}|${local.port}|${inode}`).join('\n')
    },
    async read() {
      const inodes = sockets.map(({ inode }) => inode)
      owners.keepOnly(new Set(inodes))
      owners.search(inodes, processes.pids())
      const found = new Findings(limit)
      for (const socket of sockets) found.add(portItem(socket, owners, processes))
      if (!isWhole) found.trouble('a table of /proc/net is longer than what is read of it')
      return found.reading()
    },
  }
}

function listeningSockets(procRoot: string): { sockets: readonly Socket[]; isWhole: boolean } {
  const found = new Map<string, Socket>()
  const ephemeralFrom = firstEphemeralPort(procRoot)
  let isWhole = true
  for (const table of TABLES) {
    const read = readSocketTable(procRoot, table)
    if (read?.isWhole === false) isWhole = false
    for (const socket of read?.sockets ?? []) {
      if (!isListening(socket) || isUdpClient(socket, ephemeralFrom)) continue
      found.set(`${socket.transport}|${socket.local.ip}|${socket.local.port}`, socket)
    }
  }
  return { sockets: [...found.values()], isWhole }
}

function portItem({ transport, local, inode }: Socket, owners: SocketOwners, processes: ProcessLookup) {
  const pid = owners.pidOf(inode)
  const process = pid === undefined ? undefined : processes.of(pid)
  const address = local.ip.includes(':') ? `[${local.ip}]:${local.port}` : `${local.ip}:${local.port}`
  return {
    key: `${transport}|${local.ip}|${local.port}`,
    label: `${transport} ${address}${process?.name === undefined ? '' : ` ${process.name}`}`,
    facts: {
      transport,
      ip: local.ip,
      port: local.port,
      ...present({ process: process?.name, executable: process?.executable, user: process?.user?.name }),
    },
    loose: present({ pid, command_line: process?.command_line?.slice(0, 1_024) }),
    ...present({ process }),
  }
}
