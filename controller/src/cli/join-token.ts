/** `firebreak join-token`: what lets a host in. */
import { type Command, Option } from 'commander'
import type { JoinTokenShown, NewJoinTokenShown } from '../api/join-tokens.ts'
import { durationText, parseDuration, timeText } from './durations.ts'
import { printList, printOne } from './output.ts'
import { type Cli, verb, wholeNumber } from './session.ts'
import { safeText } from './terminal-text.ts'

interface CreateOptions {
  readonly group: string
  readonly life: number
  readonly uses: number
}

export function addJoinTokenVerbs(cli: Cli, program: Command): void {
  const tokens = program.command('join-token').alias('join-tokens').description('what lets a host in')

  verb<CreateOptions>(cli, tokens, 'create', 'make a join string', async ({ api, io, format }, _args, options) => {
    const { group, life, uses } = options
    const made = await api.post<NewJoinTokenShown>('/api/v1/join-tokens', { group, life_s: life, max_uses: uses })
    printOne(io, format, made, made.join_string, () => {
      const [controller = '<controller>:8421'] = made.controllers
      const count = uses === 1 ? 'one host' : `${uses} hosts`
      io.say(
        `Lets ${count} join the group ${group} within ${durationText(life)}. It is shown only now. On the host, as root:\n`,
      )
      return `firebreak-agent enroll --controller https://${safeText(controller)} --join ${safeText(made.join_string)}`
    })
  })
    .option('--group <name>', 'group of the hosts that join with it', 'default')
    .addOption(new Option('--life <time>', 'how long it can be used').argParser(parseDuration).default(3_600, '1h'))
    .addOption(
      new Option('--uses <n>', 'how many hosts may join with it').argParser(wholeNumber(1, 100_000)).default(1),
    )
    .option('--raw', 'print the join string and nothing else; the same as -o raw')

  verb(cli, tokens, 'list', 'list join tokens', async ({ api, io, format }) => {
    const rows = await api.list<JoinTokenShown>('/api/v1/join-tokens', {}, 10_000)
    printList(io, format, rows, {
      columns: [
        { head: 'TOKEN', cell: (token) => token.token_id },
        { head: 'GROUP', cell: (token) => token.group, flexible: true },
        { head: 'USED', cell: (token) => `${token.uses} of ${token.max_uses}` },
        { head: 'STATE', cell: (token) => stateOf(token, cli.now()) },
        { head: 'ENDS', cell: (token) => timeText(token.expires_at) },
        { head: 'MADE BY', cell: (token) => token.created_by },
      ],
      raw: (token) => token.token_id,
      empty: 'There are no join tokens. Make one: firebreak join-token create',
    })
  })

  verb(
    cli,
    tokens,
    'revoke <id>',
    'revoke a join token; hosts that joined with it stay',
    async ({ api, io, format }, [id = '']) => {
      const token = await api.delete<JoinTokenShown>(`/api/v1/join-tokens/${encodeURIComponent(id)}`)
      printOne(io, format, token, token.token_id, () => `${token.token_id} is revoked`)
    },
  )
}

function stateOf(token: JoinTokenShown, nowMs: number): string {
  if (token.revoked_at !== null) return 'revoked'
  if (Date.parse(token.expires_at) <= nowMs) return 'expired'
  return token.uses >= token.max_uses ? 'used up' : 'usable'
}
