/** Ids in tables are cut where they are still one of a kind (48 bits of time, 12 of chance); verbs take any beginning that is. */
import { isUuid } from '@firebreak/shared/ids.ts'
import type { ApiClient } from './api-client.ts'
import { CliError } from './exit-codes.ts'
import { fitText } from './terminal-text.ts'

const SHOWN = 18
const MAX_CANDIDATES = 5

export function shortId(id: string): string {
  return id.slice(0, SHOWN)
}

/** The whole id of the one thing that begins so; `kind` as in `/api/v1/<kind>`. */
export async function resolveId(
  api: ApiClient,
  kind: 'incidents' | 'alerts' | 'commands',
  text: string,
): Promise<string> {
  if (isUuid(text)) return text
  if (!/^[0-9a-f-]{8,35}$/.test(text))
    throw new CliError(
      'usage',
      `${fitText(text, 80)} is not an id of ${kind}, nor the beginning of one (8 characters or more)`,
    )
  const found = await api.list<{ id: string }>(`/api/v1/${kind}`, { id_prefix: text }, MAX_CANDIDATES)
  const [one, ...others] = found
  if (!one) throw new CliError('not_found', `none of the ${kind} has an id that begins with ${text}`)
  if (others.length > 0)
    throw new CliError(
      'usage',
      `${text} begins the ids of several ${kind}:\n${found.map(({ id }) => `  ${id}`).join('\n')}`,
    )
  return one.id
}
