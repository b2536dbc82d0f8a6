/** `firebreak`: every noun in one program, and the one place where its failures become exit codes. */
import { reasonOf } from '@firebreak/shared/result.ts'
import { Command, CommanderError, type Option } from 'commander'
import { VERSION } from '../version.ts'
import { addAlertVerbs } from './alerts.ts'
import { addAuditVerbs } from './audit.ts'
import { addBackupVerbs } from './backup.ts'
import { addCommandVerbs } from './commands.ts'
import { addConfigVerbs } from './config.ts'
import { addContainVerbs } from './contain.ts'
import { addEventVerbs } from './events.ts'
import { CliError, EXIT_CODES, exitCodesText } from './exit-codes.ts'
import { addHostVerbs } from './hosts.ts'
import { huntCommand } from './hunt.ts'
import { addIncidentVerbs } from './incidents.ts'
import { addIndicatorVerbs } from './indicators.ts'
import type { Io } from './io.ts'
import { addJoinTokenVerbs } from './join-token.ts'
import { addRuleVerbs } from './rules.ts'
import { addPlaybookVerbs, addRunVerbs } from './runs.ts'
import { type Cli, SHARED_OPTIONS, withSharedOptions } from './session.ts'
import { safeText } from './terminal-text.ts'
import { addTokenVerbs } from './tokens.ts'
import { addUpVerb } from './up.ts'

export interface CliDeps {
  readonly io: Io
  now(): number
  sleep(ms: number): Promise<void>
}

/** Runs one command line (without the program's own name) and returns its exit code. */
export async function runCli(argv: readonly string[], deps: CliDeps): Promise<number> {
  let code: number = EXIT_CODES.ok.code
  const cli: Cli = {
    ...deps,
    ended: (exit) => {
      code = EXIT_CODES[exit].code
    },
  }
  try {
    await programOf(cli).parseAsync(argv, { from: 'user' })
    return code
  } catch (thrown) {
    return failed(deps.io, thrown)
  }
}

export function programOf(cli: Cli): Command {
  const { io } = cli
  const program = new Command('firebreak')
    .description('automated incident response: detect, decide, act, and prove the effect')
    .version(VERSION)
    .exitOverride()
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: (text) => io.out(text),
      writeErr: (text) => io.say(text.trimEnd()),
      getOutHelpWidth: () => io.columns,
      getErrHelpWidth: () => io.columns,
      getOutHasColors: () => io.colors.isColorSupported,
      getErrHasColors: () => io.colors.isColorSupported,
    })
    .configureHelp({ groupItems: sharedLast })
    .addHelpText(
      'after',
      `
HOST is an agent id, the beginning of one, or a hostname that only one host has.
Data goes to standard output, talk to standard error. Without a terminal nothing is asked.

Exit codes:
${exitCodesText()}`,
    )
  withSharedOptions(program)
  addUpVerb(cli, program)
  addJoinTokenVerbs(cli, program)
  addHostVerbs(cli, program)
  addIncidentVerbs(cli, program)
  addAlertVerbs(cli, program)
  addContainVerbs(cli, program)
  addCommandVerbs(cli, program)
  addPlaybookVerbs(cli, program)
  addRunVerbs(cli, program)
  addEventVerbs(cli, program)
  addRuleVerbs(cli, program)
  addIndicatorVerbs(cli, program)
  program.addCommand(huntCommand().copyInheritedSettings(program))
  addAuditVerbs(cli, program)
  addTokenVerbs(cli, program)
  addConfigVerbs(cli, program)
  addBackupVerbs(cli, program)
  return program
}

/** A verb's own options are what its reader came for. */
function sharedLast<Item extends Command | Option>(
  _unsorted: Item[],
  visible: Item[],
  groupOf: (item: Item) => string,
): Map<string, Item[]> {
  const groups = Map.groupBy(visible, groupOf)
  const shared = groups.get(SHARED_OPTIONS)
  groups.delete(SHARED_OPTIONS)
  if (shared) groups.set(SHARED_OPTIONS, shared)
  return groups
}

function failed(io: Io, thrown: unknown): number {
  if (thrown instanceof CommanderError) {
    // Help and version were asked for and given; all else was told by commander already.
    const asked = thrown.code === 'commander.helpDisplayed' || thrown.code === 'commander.version'
    return asked || thrown.exitCode === 0 ? EXIT_CODES.ok.code : EXIT_CODES.usage.code
  }
  if (thrown instanceof CliError) {
    io.say(`${io.colors.red('firebreak:')} ${thrown.message}`)
    return EXIT_CODES[thrown.exit].code
  }
  const code = (thrown as { code?: unknown } | null)?.code
  io.say(`${io.colors.red('firebreak:')} ${safeText(reasonOf(thrown))}${typeof code === 'string' ? ` [${code}]` : ''}`)
  return EXIT_CODES.failed.code
}
