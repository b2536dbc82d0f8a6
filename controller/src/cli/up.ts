/** `firebreak up`: a controller in the foreground, and with `--with-agent` this machine as its first host. */
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { reasonOf } from '@firebreak/shared/result.ts'
import { type Command, Option } from 'commander'
import type { DestinationStream } from 'pino'
import type { Config } from '../config.ts'
import { DEFAULT_CONFIG_FILE, DEFAULT_DROP_IN_DIR, LOG_LEVELS } from '../config-places.ts'
import type { Controller, Started } from '../controller.ts'
import { CliError } from './exit-codes.ts'
import { pickPort } from './free-port.ts'
import type { Io } from './io.ts'
import { type LocalAgent, startLocalAgent } from './local-agent.ts'
import { showLive } from './live-view.ts'
import { type Cli, collect, wholeNumber } from './session.ts'
import { API_ADDRESS_FILE, LOCAL_STATE_DIR } from './target.ts'

interface UpOptions {
  readonly config?: string
  readonly stateDir?: string
  readonly apiHost?: string
  readonly apiPort?: number
  readonly gatewayHost?: string
  readonly gatewayPort?: number
  readonly public?: readonly string[]
  readonly logLevel?: string
  readonly withAgent?: boolean
}

export function addUpVerb(cli: Cli, program: Command): void {
  const port = wholeNumber(0, 65_535)
  program
    .command('up')
    .description('start a controller in the foreground')
    .option('--config <file>', `instead of ${DEFAULT_CONFIG_FILE}`)
    .option('--state-dir <dir>', 'everything that it keeps')
    .option('--api-host <address>', 'where the API listens; plain HTTP on loopback, TLS elsewhere')
    .addOption(new Option('--api-port <port>', 'port of the API').argParser(port))
    .option('--gateway-host <address>', 'where agents connect')
    .addOption(new Option('--gateway-port <port>', 'port for agents').argParser(port))
    .option('--public <host:port>', 'address under which agents reach it; may be given several times', collect)
    .addOption(new Option('--log-level <level>', 'least level of log lines').choices([...LOG_LEVELS]))
    .option(
      '--with-agent',
      `try it out: this machine is the first host, observed only; all state in ./${LOCAL_STATE_DIR}, all on loopback`,
    )
    .action(async (options: UpOptions) => {
      await up(cli, options)
      cli.ended('ok')
    })
}

async function up(cli: Cli, options: UpOptions): Promise<void> {
  const { io } = cli
  const config = await configOf(io, options)
  const logs = options.withAgent === true ? join(config.state_dir, 'controller.log') : undefined
  const signals = listenForSignals(io)
  let controller: Controller | undefined
  let agent: LocalAgent | undefined
  try {
    io.say('Starting ...')
    // Loaded here: every other command starts without the whole controller.
    const { createController } = await import('../controller.ts')
    const { createLogger } = await import('../log.ts')
    const logger = createLogger(config.log.level, logs === undefined ? undefined : await logFile(logs))
    controller = await createController(config, { logger })
    const started = await controller.start()
    writeFileSync(join(config.state_dir, API_ADDRESS_FILE), `${started.apiUrl}\n`, { mode: 0o644 })
    if (options.withAgent === true)
      agent = await startLocalAgent({ controller, gatewayPort: started.gatewayPort, stateDir: config.state_dir, io })
    const page = banner(io, config, started, agent)
    if (options.withAgent === true) io.out(`${page}\n`)
    else io.say(page)
    const live = options.withAgent === true ? showLive(cli, controller) : undefined
    await signals.stop((signal) => {
      if (signal === 'SIGHUP') void reload(io, controller)
    })
    await live?.stop()
    io.say('Stopping ...')
  } catch (thrown) {
    throw asCliError(thrown, config)
  } finally {
    await agent?.stop()
    await controller?.stop()
    signals.end()
  }
  io.say('Stopped. Everything is kept; the next start goes on.')
}

async function configOf(io: Io, options: UpOptions): Promise<Config> {
  const local = options.withAgent === true
  const flags: Record<string, unknown> = local ? await localFlags(io, options) : {}
  const set = (key: string, value: unknown) => {
    if (value !== undefined) flags[key] = value
  }
  set('state_dir', options.stateDir === undefined ? undefined : resolve(io.cwd, options.stateDir))
  set('api.host', options.apiHost)
  set('api.port', options.apiPort)
  set('gateway.host', options.gatewayHost)
  set('gateway.port', options.gatewayPort)
  set('gateway.public', options.public)
  set('log.level', options.logLevel)
  const { loadConfig } = await import('../config.ts')
  const loaded = loadConfig({
    // Trying it out must not depend on, or touch, what is installed on this machine.
    file: options.config ?? (local ? join(io.cwd, LOCAL_STATE_DIR, 'controller.yaml') : DEFAULT_CONFIG_FILE),
    fileRequired: options.config !== undefined,
    ...(options.config === undefined && !local ? { dropInDir: DEFAULT_DROP_IN_DIR } : {}),
    environment: io.env,
    flags,
  })
  if (!loaded.ok) throw new CliError('usage', loaded.why)
  return loaded.value.config
}

/** All on loopback; a port that somebody else holds is stepped around and named. */
async function localFlags(io: Io, { apiPort, gatewayPort }: UpOptions): Promise<Record<string, unknown>> {
  const api = apiPort ?? (await pickPort(8420, (port) => io.say(`Port 8420 is taken; the API is at ${port}.`)))
  const gateway = gatewayPort ?? (await pickPort(8421, (port) => io.say(`Port 8421 is taken; agents use ${port}.`)))
  return {
    state_dir: join(io.cwd, LOCAL_STATE_DIR),
    'api.host': '127.0.0.1',
    'api.port': api,
    'gateway.host': '127.0.0.1',
    'gateway.port': gateway,
    'gateway.public': [`127.0.0.1:${gateway}`],
  }
}

async function logFile(path: string): Promise<DestinationStream> {
  const { destination } = await import('pino')
  return destination({ dest: path, mkdir: true, mode: 0o600, sync: true })
}

function banner(io: Io, config: Config, started: Started, agent: LocalAgent | undefined): string {
  const { colors } = io
  const line = (name: string, value: string, note = '') =>
    `  ${colors.dim(name.padEnd(10))} ${value}${note && `  ${colors.dim(note)}`}`
  const here = config.state_dir === join(io.cwd, LOCAL_STATE_DIR) ? '' : ` --state-dir ${config.state_dir}`
  const cli = 'npm run -s firebreak --'
  return [
    colors.bold('Firebreak is up.'),
    '',
    line('API', started.apiUrl, `documentation ${started.apiUrl}/docs`),
    line(
      'agents',
      config.gateway.public.map((address) => `https://${address}`).join(', ') || `port ${started.gatewayPort}`,
    ),
    line('state', config.state_dir, 'all of it; remove it to start over'),
    line(
      'token',
      started.adminToken.path,
      started.adminToken.made ? 'made now, for an administrator' : 'for an administrator',
    ),
    ...(agent === undefined
      ? []
      : [
          line('this host', agent.agentId, `observed only: containment is refused here by ${agent.ceilingPath}`),
          ...(agent.polls === undefined
            ? []
            : [line('polling', `short-lived processes and connections can be missed: ${agent.polls}`)]),
          line('logs', `${join(config.state_dir, 'controller.log')}, ${agent.logPath}`),
        ]),
    ...started.advice.map((advice) => line('note', advice)),
    '',
    `In another terminal:`,
    `  ${cli} hosts list${here}`,
    `  ${cli} events search event.category:process --since 5m${here}`,
    `  ${cli} incidents list${here}`,
    `  ${cli} --help`,
    '',
    colors.dim('Ctrl-C stops it; the next start goes on with the same state.'),
    '',
  ].join('\n')
}

async function reload(io: Io, controller: Controller | undefined): Promise<void> {
  if (!controller) return
  const rules = await controller.detect.reloadRules()
  const playbooks = await controller.respond.reloadPlaybooks()
  io.say(
    `Reloaded: ${rules.live} rules live, ${rules.refused} refused${rules.kept > 0 ? ` (${rules.kept} rules go on in their last good version)` : ''}; ${playbooks.live} playbooks live.${[
      rules.why,
      playbooks.why,
    ]
      .filter((why) => why !== undefined)
      .map((why) => ` ${why}`)
      .join('')}`,
  )
}

/** A terminal may send Ctrl-C to the whole group more than once: only an insistent one ends it without order. */
const INSISTENT_MS = 2_000

function listenForSignals(io: Io) {
  let told: (signal: NodeJS.Signals) => void = () => {}
  let asked: number | undefined
  const stopped = Promise.withResolvers<void>()
  const onStop = () => {
    const now = performance.now()
    if (asked !== undefined && now - asked > INSISTENT_MS) {
      io.say('Ended at once. What was under way goes on at the next start.')
      process.exit(1)
    }
    asked ??= now
    stopped.resolve()
  }
  const onHangUp = () => told('SIGHUP')
  process.on('SIGINT', onStop).on('SIGTERM', onStop).on('SIGHUP', onHangUp)
  return {
    async stop(other: (signal: NodeJS.Signals) => void) {
      told = other
      await stopped.promise
    },
    end() {
      process.off('SIGINT', onStop).off('SIGTERM', onStop).off('SIGHUP', onHangUp)
    },
  }
}

function asCliError(thrown: unknown, config: Config): unknown {
  const code = (thrown as { code?: unknown } | null)?.code
  switch (code) {
    case 'EADDRINUSE':
      return new CliError(
        'failed',
        `a port is taken (${reasonOf(thrown)}): choose others with --api-port and --gateway-port`,
      )
    case 'EACCES':
      return new CliError(
        'usage',
        `${reasonOf(thrown)}: give --state-dir a folder that you may write, or run it as root (now ${config.state_dir})`,
      )
    case 'already_running':
    case 'bad_config':
      return new CliError('usage', reasonOf(thrown))
    default:
      return thrown
  }
}
