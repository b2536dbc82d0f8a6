/** HOST on the command line: an agent id, a hostname that only one host has, or the beginning of one agent id. */
import type { Host } from '../api/hosts.ts'
import type { ApiClient } from './api-client.ts'
import { CliError } from './exit-codes.ts'
import { fitText } from './terminal-text.ts'

const MAX_CANDIDATES = 20
/** Shorter beginnings hit by accident. */
const MIN_PREFIX = 4

export async function resolveHost(api: ApiClient, text: string): Promise<Host> {
  const byId = /^[a-z2-7]{26}$/.test(text) ? await find(api, { id_prefix: text }) : []
  const [exact] = byId
  if (exact) return exact
  const byName = await find(api, { hostname: text })
  const found =
    byName.length > 0 || !new RegExp(`^[a-z2-7]{${MIN_PREFIX},25}$`).test(text)
      ? byName
      : await find(api, { id_prefix: text })
  // A name that a recording brought along never stands in the way of a host that has an agent.
  const acting = found.filter((host) => host.imported_at === null)
  const [one, ...others] = acting.length > 0 ? acting : found
  if (!one) throw new CliError('not_found', `no host is called ${fitText(text, 80)}; see firebreak hosts list`)
  if (others.length > 0) throw new CliError('usage', ambiguous(text, [one, ...others]))
  return one
}

async function find(api: ApiClient, query: Readonly<Record<string, string>>): Promise<Host[]> {
  // Revoked hosts are only meant when they are named by their whole id.
  const hosts = await api.list<Host>('/api/v1/hosts', query, MAX_CANDIDATES)
  return (query['id_prefix'] ?? '').length === 26 ? hosts : hosts.filter((host) => host.revoked_at === null)
}

function ambiguous(text: string, hosts: readonly Host[]): string {
  const lines = hosts.map(
    (host) =>
      `  ${host.agent_id}  ${fitText(host.hostname, 40)}  ${host.imported_at !== null ? 'imported' : host.connected ? 'connected' : 'offline'}  ${fitText(host.addresses.join(' '), 60)}`,
  )
  return `${fitText(text, 80)} is not one host; give the agent id of one of these:\n${lines.join('\n')}`
}
