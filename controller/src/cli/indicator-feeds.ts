/** `firebreak indicators feeds`: where indicators come from by themselves. */
import { type Command, Option } from 'commander'
import type { Feed } from '../api/indicators.ts'
import { FEED_KINDS, TLPS } from '../indicators/index.ts'
import { parseDuration } from './durations.ts'
import { CliError, type Exit } from './exit-codes.ts'
import { printList, printOne } from './output.ts'
import { type Cli, verb, wholeNumber } from './session.ts'
import { safeText } from './terminal-text.ts'

const POLL_MS = 500
const WAIT_MS = 600_000

interface AddOptions {
  readonly kind: string
  readonly every: number
  readonly confidence?: number
  readonly tlp?: string
  readonly collection?: string
  readonly secretFile?: string
  readonly auth?: string
  readonly validDays?: number
}

export function addFeedVerbs(cli: Cli, parent: Command): void {
  const feeds = parent.command('feeds').description('where indicators come from by themselves')
  verb(cli, feeds, 'list', 'list feeds with what became of their last fetch', async ({ api, io, format }) => {
    const { items } = await api.get<{ items: Feed[] }>('/api/v1/indicator-feeds')
    printList(io, format, items, {
      columns: [
        { head: 'NAME', cell: (row) => row.name },
        { head: 'KIND', cell: (row) => row.kind },
        { head: 'LAST GOOD', cell: (row) => row.last_ok_at ?? 'never' },
        { head: 'INDICATORS', cell: (row) => String(row.last_counts?.indicators ?? 0) },
        { head: 'URL', cell: (row) => row.url, flexible: true },
        { head: 'WHY NOT', cell: (row) => row.last_error ?? '', flexible: true },
      ],
      raw: (row) => row.name,
      empty: 'No feeds. Add one with: firebreak indicators feeds add',
    })
  })
  verb<AddOptions>(
    cli,
    feeds,
    'add <name> <url>',
    'add a feed',
    async ({ api, io, format }, [name = '', url = ''], options) => {
      const feed = await api.post<Feed>('/api/v1/indicator-feeds', {
        name,
        url,
        kind: options.kind,
        every_s: options.every,
        options: {
          ...(options.confidence === undefined ? {} : { confidence: options.confidence }),
          ...(options.tlp === undefined ? {} : { tlp: options.tlp }),
          ...(options.collection === undefined ? {} : { collection: options.collection }),
          ...(options.secretFile === undefined ? {} : { secret_file: options.secretFile }),
          ...(options.auth === undefined ? {} : { auth: options.auth }),
          ...(options.validDays === undefined ? {} : { valid_days: options.validDays }),
        },
      })
      printOne(
        io,
        format,
        feed,
        feed.name,
        () =>
          `${safeText(feed.name)} was added; fetch it now with: firebreak indicators feeds fetch ${safeText(feed.name)}`,
      )
    },
  )
    .addOption(new Option('--kind <kind>', 'what answers there').choices([...FEED_KINDS]).makeOptionMandatory())
    .addOption(
      new Option('--every <time>', 'how often it is fetched, such as 6h')
        .argParser(parseDuration)
        .default(21_600, '6h'),
    )
    .addOption(new Option('--confidence <n>', 'how sure it is, where it does not say').argParser(wholeNumber(0, 100)))
    .addOption(new Option('--tlp <tlp>', 'Traffic Light Protocol 2.0, where it does not say').choices([...TLPS]))
    .addOption(
      new Option('--valid-days <n>', 'days that an entry stays in force, where it does not say').argParser(
        wholeNumber(1, 3_650),
      ),
    )
    .option('--collection <id>', 'of TAXII: id or title of the collection')
    .option('--secret-file <name>', 'file in indicators.feed_dir that holds the token, or user:password')
    .addOption(new Option('--auth <how>', 'how the secret is sent').choices(['bearer', 'basic']))
  verb(
    cli,
    feeds,
    'fetch <name>',
    'fetch a feed now and wait for it',
    async ({ api, io, format }, [name = '']): Promise<Exit> => {
      const path = `/api/v1/indicator-feeds/${encodeURIComponent(name)}/fetch`
      const before = await api.post<Feed>(path, {})
      for (let waited = 0; waited < WAIT_MS; waited += POLL_MS) {
        const { items } = await api.get<{ items: Feed[] }>('/api/v1/indicator-feeds')
        const now = items.find((feed) => feed.name === name)
        if (!now) throw new CliError('not_found', 'the feed was taken away meanwhile')
        if (now.last_run_at !== before.last_run_at) {
          if (now.last_error !== null)
            throw new CliError('failed', `${safeText(now.last_error)}; what it said before stays in force`)
          const counts = now.last_counts
          printOne(
            io,
            format,
            now,
            String(counts?.indicators ?? 0),
            () =>
              `${counts?.indicators ?? 0} indicators, ${counts?.added ?? 0} new, ${counts?.expired ?? 0} over, ${counts?.patterns ?? 0} patterns kept, ${counts?.refused ?? 0} entries refused`,
          )
          return 'ok'
        }
        await cli.sleep(POLL_MS)
      }
      throw new CliError('timed_out', 'the fetch goes on; see firebreak indicators feeds list')
    },
  )
  verb(
    cli,
    feeds,
    'remove <name>',
    'take a feed away; what it said stays in force',
    async ({ api, io, format }, [name = '']) => {
      const done = await api.delete<{ name: string }>(`/api/v1/indicator-feeds/${encodeURIComponent(name)}`)
      printOne(io, format, done, done.name, () => `${safeText(done.name)} was taken away.`)
    },
  )
}
