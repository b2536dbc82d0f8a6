/** What every verb has: the options that all share, the controller they lead to, and the form of the answer. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { ApiClient } from './api-client.ts'
import type { Exit } from './exit-codes.ts'
import type { Io } from './io.ts'
import { type Format, FORMATS } from './output.ts'
import { targetOf, type TargetOptions } from './target.ts'

export interface Cli {
  readonly io: Io
  now(): number
  sleep(ms: number): Promise<void>
  /** The verb is done; what it ends with. */
  ended(exit: Exit): void
}

interface SharedOptions extends TargetOptions {
  readonly output?: Format
  readonly json?: boolean
  /** Only some verbs have it, where a script wants one value. */
  readonly raw?: boolean
}

export class Session {
  readonly cli: Cli
  readonly io: Io
  readonly format: Format
  readonly #options: SharedOptions
  #client: ApiClient | undefined

  constructor(cli: Cli, options: SharedOptions) {
    this.cli = cli
    this.io = cli.io
    this.#options = options
    this.format = options.json === true ? 'json' : options.raw === true ? 'raw' : (options.output ?? 'table')
  }

  get api(): ApiClient {
    this.#client ??= new ApiClient(targetOf(this.#options, this.io))
    return this.#client
  }
}

export type Act<Options> = (session: Session, args: readonly string[], options: Options) => Promise<Exit | void>

/** A verb with the shared options; without an answer of its own it ends with `ok`. */
export function verb<Options extends object>(
  cli: Cli,
  parent: Command,
  spec: string,
  description: string,
  act: Act<Options>,
): Command {
  return withSharedOptions(parent.command(spec).description(description)).action(async (...given: unknown[]) => {
    const command = given.at(-1) as Command
    const options: SharedOptions & Options = { ...shared(command), ...command.opts() }
    const args = given
      .slice(0, -2)
      .flatMap((arg): unknown[] => (Array.isArray(arg) ? arg : [arg]))
      .map((arg) => (typeof arg === 'string' ? arg : ''))
    cli.ended((await act(new Session(cli, options), args, options)) ?? 'ok')
  })
}

/** Accepted before the noun and after the verb. */
export function withSharedOptions(command: Command): Command {
  return command
    .addOption(new Option('--api <url>', 'address of the controller (FIREBREAK_API)').helpGroup(SHARED_OPTIONS))
    .addOption(
      new Option(
        '--token <token>',
        'API token; others on this machine can see it here, so prefer FIREBREAK_TOKEN_FILE',
      ).helpGroup(SHARED_OPTIONS),
    )
    .addOption(
      new Option(
        '--state-dir <dir>',
        'state directory of a controller on this machine: its address and token',
      ).helpGroup(SHARED_OPTIONS),
    )
    .addOption(new Option('--ca <file>', "the controller's certificate, PEM (FIREBREAK_CA)").helpGroup(SHARED_OPTIONS))
    .addOption(
      new Option('-o, --output <format>', 'form of the answer').choices([...FORMATS]).helpGroup(SHARED_OPTIONS),
    )
    .addOption(new Option('--json', 'the same as -o json').helpGroup(SHARED_OPTIONS))
}
export const SHARED_OPTIONS = 'Shared options:'

function shared(command: Command): object {
  return command.parent ? { ...shared(command.parent), ...command.parent.opts() } : {}
}

/** Commander's own parser for whole numbers within bounds. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = Number(text)
    if (!/^\d+$/.test(text) || number < min || number > max)
      throw new InvalidArgumentError(`A whole number from ${min} to ${max} is needed.`)
    return number
  }
}

/** An option that may be given several times. */
export function collect(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), text]
}
