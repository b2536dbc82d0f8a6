import { type Command, Option } from 'commander'
import { wholeNumber } from './session.ts'

export interface ListOptions {
  readonly limit: number
}

export function listOptions(command: Command): Command {
  return command.addOption(new Option('--limit <n>', 'entries at most').argParser(wholeNumber(1, 100_000)).default(100))
}
