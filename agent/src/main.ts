#!/usr/bin/env node
/** `firebreak-agent`. Exit codes: 0 ok, 1 failed, 2 usage or configuration, 4 refused, 5 not authenticated, 6 unreachable, 7 timed out. */
import { readFileSync } from 'node:fs'
import { systemClock } from '@firebreak/shared/clock.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import { Command, CommanderError } from 'commander'
import { abandonIsolation } from './actions/isolation/abandon.ts'
import { type AgentStatus, startAgent } from './agent.ts'
import { type ConfigSources, DEFAULT_CONFIG_PATH, type LoadedConfig, loadConfig } from './config.ts'
import { askAgent } from './control-socket.ts'
import { collectDiagnostics } from './diagnostics.ts'
import { makePrivateFolder, writeAtomic } from './disk/atomic-file.ts'
import { readHostFacts } from './facts/host-facts.ts'
import { resetIdentity } from './identity/reset-identity.ts'
import { AGENT_VERSION } from './identity/version.ts'
import { openAddressBook } from './link/addresses.ts'
import { type EnrolRefusal, enrol } from './link/enrol.ts'
import { createLog, silentLog } from './log.ts'
import { readCeiling } from './orders/ceiling.ts'
import { createServiceManager } from './platform/linux/service-manager.ts'
import { statusText } from './status-text.ts'

const EXIT = { ok: 0, failed: 1, usage: 2, refused: 4, auth: 5, unreachable: 6, timeout: 7 } as const
type Exit = (typeof EXIT)[keyof typeof EXIT]
const ASK_MS = 10_000
/** A release waits for the firewall and its probes. */
const RELEASE_MS = 60_000

/** Ends the command with this code after `why` was written to standard error. */
class Stop extends Error {
  readonly exit: Exit
  constructor(exit: Exit, why: string) {
    super(why)
    this.exit = exit
  }
}

interface GlobalOptions {
  readonly config?: string
}

function program(): Command {
  const cli = new Command('firebreak-agent')
    .description('Firebreak agent: tells what happens on this host and carries out signed orders.')
    .option('--config <file>', `configuration file (default: ${DEFAULT_CONFIG_PATH})`)
    .exitOverride()
    .showHelpAfterError()
  const loaded = (): LoadedConfig => load(cli.opts<GlobalOptions>())

  cli
    .command('enroll')
    .description('Join a controller with a join string.')
    .requiredOption('--controller <url>', 'https://host:port of a controller')
    .option('--join <string>', 'join string (fb1....); `-` reads it from standard input')
    .option('--join-file <file>', 'file that holds the join string')
    .action((options: { controller: string; join?: string; joinFile?: string }) => enroll(loaded(), options))
  cli
    .command('run')
    .description('Watch this host, tell the controller, carry out its orders.')
    .action(() => run(loaded()))
  cli
    .command('status')
    .description('Show how the running agent is doing.')
    .option('--json', 'for programs')
    .action((options: { json?: boolean }) => status(loaded(), options))
  cli
    .command('release')
    .description('Free this host from its isolation with the one-time release code.')
    .requiredOption('--code <code>', 'release code; `-` reads it from standard input')
    .action((options: { code: string }) => release(loaded(), options))
  cli
    .command('reset-identity')
    .description('For a copy of another host: forget the key that both have, so that this one can join under its own.')
    .option('--yes', 'do it; the host must be joined again afterwards')
    .action((options: { yes?: boolean }) => forgetIdentity(loaded(), options))
  cli
    .command('check-config')
    .description('Check configuration and ceiling, and show where each value was set.')
    .action(() => checkConfig(loaded()))
  cli
    .command('diagnostics')
    .description('Write configuration, state and health into one file, without secrets.')
    .option('--out <file>', 'where to; standard output when left out')
    .action((options: { out?: string }) => diagnostics(loaded(), options))
  cli
    .command('package-removed', { hidden: true })
    .description(
      'End the isolation of this host for good; asked by the package when it is removed, with the agent stopped.',
    )
    .action(() => packageRemoved(loaded()))
  cli
    .command('version')
    .description('Show the version.')
    .action(() => {
      say(AGENT_VERSION)
    })
  return cli
}

function load({ config }: GlobalOptions): LoadedConfig {
  const path = config ?? process.env.FIREBREAK_AGENT_CONFIG
  const sources: ConfigSources = { path: path ?? DEFAULT_CONFIG_PATH, env: process.env, required: path !== undefined }
  const found = loadConfig(sources)
  if (!found.ok) throw new Stop(EXIT.usage, found.why)
  return found.value
}

async function enroll(
  { config }: LoadedConfig,
  options: { readonly controller: string; readonly join?: string; readonly joinFile?: string },
): Promise<void> {
  const joinString = options.joinFile === undefined ? secret(options.join) : readFileSync(options.joinFile, 'utf8')
  if (joinString === undefined) throw new Stop(EXIT.usage, 'give --join or --join-file')
  makePrivateFolder(config.state_dir)
  const joined = await enrol(
    {
      controller: options.controller,
      joinString: joinString.trim(),
      stateDir: config.state_dir,
      facts: readHostFacts(),
    },
    { clock: systemClock, addresses: openAddressBook({ log: silentLog, stateDir: config.state_dir }) },
  )
  if (!joined.ok) throw new Stop(enrolExit(joined.code), `not enrolled: ${joined.code}: ${joined.why}`)
  say(`enrolled: agent ${joined.value.agentId} in deployment ${joined.value.deploymentId}`)
}

function enrolExit(code: EnrolRefusal): Exit {
  switch (code) {
    case 'bad_join_string':
    case 'bad_url':
      return EXIT.usage
    case 'already_enrolled':
    case 'too_many':
      return EXIT.refused
    case 'unreachable':
      return EXIT.unreachable
    case 'timeout':
      return EXIT.timeout
    case 'wrong_root':
    case 'wrong_certificate':
    case 'trust_expired':
    case 'bad_token':
    case 'token_expired':
    case 'token_used_up':
    case 'bad_proof':
    case 'bad_signature':
    case 'unsafe_key':
    case 'unknown_agent':
    case 'revoked_agent':
      return EXIT.auth
    case 'bad_local_key':
    case 'malformed':
    case 'too_large':
    case 'internal':
      return EXIT.failed
    default:
      throw new TypeError(`unhandled code ${JSON.stringify(code satisfies never)}`)
  }
}

async function run({ config }: LoadedConfig): Promise<void> {
  const log = createLog(config.log.level)
  const started = await startAgent(config, { clock: systemClock, log })
  if (!started.ok)
    throw new Stop(started.code === 'in_use' ? EXIT.refused : EXIT.usage, `${started.code}: ${started.why}`)
  const manager = createServiceManager({ env: process.env, clock: systemClock, log })
  manager.ready('watching this host')
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => resolve())
    }
  })
  manager.stopping()
  await started.value.stop()
}

async function status({ config }: LoadedConfig, options: { readonly json?: boolean }): Promise<void> {
  const answer = await askAgent(config.run_socket, { verb: 'status' }, ASK_MS)
  if (!answer.ok) throw new Stop(answer.code === 'unreachable' ? EXIT.unreachable : EXIT.failed, answer.why)
  say(options.json ? JSON.stringify(answer.value) : statusText(answer.value as AgentStatus, Date.now()))
}

async function release({ config }: LoadedConfig, options: { readonly code: string }): Promise<void> {
  const code = secret(options.code) ?? ''
  const answer = await askAgent(config.run_socket, { verb: 'release', code: code.trim() }, RELEASE_MS)
  if (answer.ok) say('released: the isolation is over; the controller gets the receipt as soon as it can be reached')
  else throw new Stop(releaseExit(answer.code), `not released: ${answer.code}: ${answer.why}`)
}

function releaseExit(code: string): Exit {
  if (code === 'wrong_code' || code === 'too_many_tries') return EXIT.auth
  return code === 'unreachable' ? EXIT.unreachable : EXIT.failed
}

async function forgetIdentity({ config }: LoadedConfig, options: { readonly yes?: boolean }): Promise<void> {
  if (options.yes !== true)
    throw new Stop(EXIT.usage, 'this host will have to be joined again with a new join string; say --yes to do it')
  const running = await askAgent(config.run_socket, { verb: 'status' }, ASK_MS)
  if (running.ok || running.code !== 'unreachable')
    throw new Stop(EXIT.refused, 'the agent is running; stop it first: systemctl stop firebreak-agent')
  const reset = await resetIdentity(config.state_dir, config.spool, { clock: systemClock, log: silentLog })
  if (!reset.ok) throw new Stop(EXIT.refused, `${reset.code}: ${reset.why}`)
  say(`this host is not ${reset.value.agentId} any more; what belonged to it is in ${reset.value.folder}`)
  say('join it again: firebreak-agent enroll --controller URL --join STRING')
}

function packageRemoved({ config }: LoadedConfig): void {
  const commandId = abandonIsolation(config.state_dir, 'freed on the host: the package was removed')
  if (commandId !== undefined) say(`isolation ${commandId} is over`)
}

function checkConfig({ config, origins }: LoadedConfig): void {
  const ceiling = readCeiling(config.ceiling)
  if (!ceiling.ok) throw new Stop(EXIT.usage, ceiling.why)
  for (const [name, where] of origins) say(`${name}  (${where})`)
  say(`configuration and ceiling are good; ${origins.size} values are set, the rest are defaults`)
}

async function diagnostics(loadedConfig: LoadedConfig, options: { readonly out?: string }): Promise<void> {
  const text = `${JSON.stringify(await collectDiagnostics(loadedConfig, Date.now()), undefined, 2)}\n`
  if (options.out === undefined) process.stdout.write(text)
  else {
    writeAtomic(options.out, text)
    say(`written: ${options.out}`)
  }
}

/** Arguments can be seen by every user of a host, so a secret may also come by standard input. */
function secret(argument: string | undefined): string | undefined {
  return argument === '-' ? readFileSync(0, 'utf8') : argument
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

async function main(): Promise<void> {
  try {
    await program().parseAsync(process.argv)
  } catch (thrown) {
    if (thrown instanceof CommanderError) process.exitCode = thrown.exitCode === 0 ? EXIT.ok : EXIT.usage
    else {
      process.stderr.write(`firebreak-agent: ${reasonOf(thrown)}\n`)
      process.exitCode = thrown instanceof Stop ? thrown.exit : EXIT.failed
    }
  }
}

void main()
