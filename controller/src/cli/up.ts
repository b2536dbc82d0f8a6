import type { Command } from 'commander'
import { CliError } from './exit-codes.ts'
import type { Cli } from './session.ts'

export function addUpVerb(cli: Cli, program: Command): void {
  program
    .command('up')
    .description('start a controller')
    .action(() => {
      cli.ended('failed')
      throw new CliError('failed', 'not wired yet')
    })
}
