/** `firebreak config`: what the controller is told, and by whom. */
import { type Command, Option } from 'commander'
import { DEFAULT_CONFIG_FILE, DEFAULT_DROP_IN_DIR } from '../config-places.ts'
import { CliError } from './exit-codes.ts'
import { type Format, FORMATS, printList, printOne } from './output.ts'
import type { Cli } from './session.ts'

interface ShowOptions {
  readonly config?: string
  readonly origin?: boolean
  readonly output?: Format
  readonly json?: boolean
}

interface Setting {
  readonly key: string
  readonly value: unknown
  readonly origin: string
}

export function addConfigVerbs(cli: Cli, program: Command): void {
  program
    .command('config')
    .description('what the controller is told')
    .command('show')
    .description('show the configuration in effect, after file, drop-ins and environment')
    .option('--config <file>', `instead of ${DEFAULT_CONFIG_FILE}`)
    .option('--origin', 'say where each value comes from')
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices([...FORMATS]))
    .option('--json', 'the same as -o json')
    .action(async (options: ShowOptions) => {
      const { loadConfig } = await import('../config.ts')
      const loaded = loadConfig({
        file: options.config ?? DEFAULT_CONFIG_FILE,
        fileRequired: options.config !== undefined,
        ...(options.config === undefined ? { dropInDir: DEFAULT_DROP_IN_DIR } : {}),
        environment: cli.io.env,
      })
      if (!loaded.ok) throw new CliError('usage', loaded.why)
      const { config, origins } = loaded.value
      const format = options.json === true ? 'json' : (options.output ?? 'table')
      if (options.origin === true) {
        const rows: Setting[] = [...origins].map(([key, origin]) => ({ key, value: valueAt(config, key), origin }))
        printList(cli.io, format, rows, {
          columns: [
            { head: 'KEY', cell: (row) => row.key },
            { head: 'VALUE', cell: (row) => JSON.stringify(row.value) ?? '-', flexible: true },
            {
              head: 'FROM',
              cell: (row) => row.origin,
              paint: (text, row) => (row.origin === 'default' ? cli.io.colors.dim(text) : text),
            },
          ],
          raw: (row) => `${row.key}=${JSON.stringify(row.value)}`,
          empty: 'nothing is set',
        })
      } else if (format === 'table') printOne(cli.io, 'yaml', config, '', () => '')
      else printOne(cli.io, format, config, JSON.stringify(config), () => '')
      cli.ended('ok')
    })
}

function valueAt(config: unknown, key: string): unknown {
  let at = config
  for (const name of key.split('.'))
    at = typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[name] : undefined
  return at
}
