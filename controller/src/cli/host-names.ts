import type { Host } from '../api/hosts.ts'
import type { ApiClient } from './api-client.ts'

/** One request for all of them instead of one each; past this a table shows agent ids. */
const MAX_HOSTS = 5_000

/** Agent id → hostname, for tables that people read. */
export async function hostNames(api: ApiClient, agentIds: readonly string[]): Promise<Map<string, string>> {
  const wanted = [...new Set(agentIds)]
  if (wanted.length === 0) return new Map()
  const hosts =
    wanted.length <= 3
      ? (
          await Promise.all(wanted.map(async (id) => await api.list<Host>('/api/v1/hosts', { id_prefix: id }, 1)))
        ).flat()
      : await api.list<Host>('/api/v1/hosts', {}, MAX_HOSTS)
  return new Map(hosts.map((host) => [host.agent_id, host.hostname]))
}
