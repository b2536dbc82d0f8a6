import type { Platform } from '../platform.ts'
import { createFirewall } from './firewall.ts'
import { createNetworkFacts, type NetworkFactsOptions } from './network-facts.ts'
import { readBootId } from './process-identity.ts'
import { createProcesses } from './processes.ts'

export function createLinuxPlatform(options: { readonly network?: NetworkFactsOptions } = {}): Platform {
  return {
    system: 'linux',
    firewall: createFirewall(),
    network: createNetworkFacts(options.network),
    processes: createProcesses(),
    bootId: () => readBootId(),
  }
}
