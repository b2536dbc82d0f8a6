/** `firebreak tokens`: who may ask. */
import { type Command, Option } from 'commander'
import type { TokenView } from '../access/index.ts'
import { ROLES } from '../orders/orders.ts'
import { ageText, parseDuration, timeText } from './durations.ts'
import { printList, printOne } from './output.ts'
import { type Cli, verb } from './session.ts'
import { fitText } from './terminal-text.ts'

export function addTokenVerbs(cli: Cli, program: Command): void {
  const tokens = program.command('tokens').description('who may ask')

  verb<{ readonly role: string; readonly expires?: number }>(
    cli,
    tokens,
    'create <name>',
    'make an API token for a person or a program',
    async ({ api, io, format }, [name = ''], { role, expires }) => {
      const body = { name, role, ...(expires === undefined ? {} : { life_s: expires }) }
      const made = await api.post<{ token: TokenView; secret: string }>('/api/v1/tokens', body)
      printOne(io, format, made, made.secret, () => {
        io.say('This is the only time that the token is shown; only its digest is kept.')
        return made.secret
      })
    },
  )
    .addOption(new Option('--role <role>', 'what it may do').choices([...ROLES]).makeOptionMandatory())
    .addOption(new Option('--expires <time>', 'its life, such as 90d; for ever when left out').argParser(parseDuration))
    .option('--raw', 'the same as -o raw')

  verb(cli, tokens, 'list', 'list API tokens', async ({ api, io, format }) => {
    const { items } = await api.get<{ items: TokenView[] }>('/api/v1/tokens')
    printList(io, format, items, {
      columns: [
        { head: 'TOKEN', cell: (token) => token.id },
        { head: 'NAME', cell: (token) => token.name, flexible: true },
        { head: 'ROLE', cell: (token) => token.role },
        { head: 'STATE', cell: (token) => stateOf(token, cli.now()) },
        { head: 'MADE BY', cell: (token) => token.created_by },
        { head: 'USED', cell: (token) => ageText(token.last_used_at, cli.now()) },
      ],
      raw: (token) => token.id,
      empty: 'There are no tokens.',
    })
  })

  verb(cli, tokens, 'revoke <id>', 'revoke an API token', async ({ api, io, format }, [id = '']) => {
    const token = await api.delete<TokenView>(`/api/v1/tokens/${encodeURIComponent(id)}`)
    printOne(io, format, token, token.id, () => `${fitText(token.name, 64)} (${token.role}) is revoked`)
  })
}

function stateOf(token: TokenView, nowMs: number): string {
  if (token.revoked_at !== null) return 'revoked'
  if (token.expires_at === null) return 'valid'
  return Date.parse(token.expires_at) <= nowMs ? 'expired' : `valid until ${timeText(token.expires_at)}`
}
