import { Fault, refuse } from '@firebreak/shared/result.ts'
import type { Platform } from './platform.ts'

/** A system without an implementation: every question is answered with `unsupported`, and nothing of the host is touched. */
export function createUnsupportedPlatform(system: NodeJS.Platform): Platform {
  const why = `not available on ${system} yet`
  const never = (): never => {
    throw new Fault('unsupported', why)
  }
  return {
    system,
    firewall: {
      canRun: () => Promise.resolve(refuse('unsupported', `host isolation is ${why}`)),
      ruleset: async () => never(),
      table: () => Promise.resolve(undefined),
      apply: () => Promise.resolve(refuse('rejected', why)),
      deleteTable: () => Promise.resolve(refuse('rejected', why)),
      counters: () => Promise.resolve(new Map()),
      watch: () => ({ stop: () => Promise.resolve() }),
    },
    network: {
      gateways: () => [],
      peers: () => [],
      neighbours: () => [],
      resolvers: () => [],
      dhcpServers: () => [],
      bypasses: () => [],
      ipv6Links: () => [],
      closeConnections: () => Promise.resolve(undefined),
      ping: () => Promise.resolve({ answer: 'missing', detail: why }),
    },
    processes: {
      supported: () => refuse('unsupported', `ending processes is ${why}`),
      list: () => [],
      identity: () => undefined,
      signal: never,
    },
    bootId: () => 'none',
  }
}
