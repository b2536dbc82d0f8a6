import type { ListeningPort } from './inventory-events.ts'
import type { ProcessLookup } from './process-lookup.ts'
import { type Socket, TABLES, firstEphemeralPort, isListening, isUdpClient, readSocketTable } from './procfs-sockets.ts'
import { SocketOwners } from './socket-owners.ts'

/** Ports on which somebody can reach the host, each with the process that holds it where that is ours to see. */
export function readListeningPorts(procRoot: string, processes: ProcessLookup): ListeningPort[] {
  const found = new Map<string, Socket>()
  const ephemeralFrom = firstEphemeralPort(procRoot)
  for (const table of TABLES) {
    for (const socket of readSocketTable(procRoot, table)?.sockets ?? []) {
      if (!isListening(socket) || isUdpClient(socket, ephemeralFrom)) continue
      found.set(`${socket.transport}|${socket.local.ip}|${socket.local.port}`, socket)
    }
  }
  const owners = new SocketOwners(procRoot)
  owners.search(
    [...found.values()].map((socket) => socket.inode),
    processes.pids(),
  )
  return [...found.values()].map((socket) => {
    const pid = owners.pidOf(socket.inode)
    return {
      transport: socket.transport,
      ip: socket.local.ip,
      port: socket.local.port,
      process: pid === undefined ? undefined : processes.of(pid),
    }
  })
}
