/**
 * `agent.yaml`, declared once. This file alone knows what can be set and reads it: defaults < file < drop-ins < environment < flags.
 * Drop-ins are `conf.d/*.yaml` beside the file, in name order; those called `controller*.yaml` belong to a controller on the same host.
 */
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { KiB, MiB } from '@firebreak/shared/wire/units.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { type Static, Type } from 'typebox'
import { CollectorsConfig } from './collectors/collectors-config.ts'
import { type Layer, type Problem, environmentLayer, layOver, readYamlLayer } from './config-layers.ts'

export const DEFAULT_CONFIG_PATH = '/etc/firebreak/agent.yaml'

export const Config = Type.Object(
  {
    controllers: Type.Array(
      Type.String({ maxLength: 512, pattern: '^(https|wss)://[^/\\s]+/?$', description: 'https://host:port.' }),
      {
        default: [],
        maxItems: 32,
        description: 'Controllers to connect to, tried in turn. Empty: those learned when the host joined.',
      },
    ),
    state_dir: Type.String({
      default: '/var/lib/firebreak-agent',
      minLength: 1,
      description: 'Key, trust file, spool and journal. Only root may read it.',
    }),
    ceiling: Type.String({
      default: '/etc/firebreak/ceiling.yaml',
      minLength: 1,
      description: 'File in which the owner of the host limits what any controller may do here.',
    }),
    run_socket: Type.String({
      default: '/run/firebreak/agent.sock',
      minLength: 1,
      maxLength: 107,
      description: 'Socket for `firebreak-agent status`, `release` and `diagnostics` (unix(7): at most 107 bytes).',
    }),
    log: Type.Object(
      {
        level: Type.Enum(['trace', 'debug', 'info', 'warn', 'error'], {
          default: 'info',
          description: 'Least important line that is written.',
        }),
      },
      { additionalProperties: false, default: {}, description: 'Log lines, JSON on standard output.' },
    ),
    link: Type.Object(
      {
        reconnect_min_ms: Type.Integer({
          default: 1_000,
          minimum: 50,
          maximum: 60_000,
          description:
            'Longest first wait before connecting again; it doubles with each failure, and chance picks within it.',
        }),
        reconnect_max_ms: Type.Integer({
          default: 300_000,
          minimum: 1_000,
          maximum: 3_600_000,
          description: 'Longest wait before connecting again.',
        }),
        status_interval_ms: Type.Integer({
          default: 10_000,
          minimum: 500,
          maximum: 600_000,
          description: 'How often counts and health are told to the controller.',
        }),
      },
      { additionalProperties: false, default: {}, description: 'The connection to the controller.' },
    ),
    spool: Type.Object(
      {
        max_bytes: Type.Integer({
          default: 512 * MiB,
          minimum: 16 * MiB,
          maximum: 64 * 1024 * MiB,
          description:
            'Disk for unsent events. Past it the least important class loses its oldest, and that is counted.',
        }),
        segment_bytes: Type.Integer({
          default: 4 * MiB,
          minimum: 64 * KiB,
          maximum: 16 * MiB,
          description: 'Size of one file of the spool, the unit in which it is freed.',
        }),
        max_age_hours: Type.Integer({
          default: 72,
          minimum: 1,
          maximum: 8_760,
          description:
            'How long unsent events are kept, in hours in which the agent ran; what it raised itself, ten times as long. The default outlasts a weekend without the controller.',
        }),
        min_free_percent: Type.Integer({
          default: 10,
          minimum: 0,
          maximum: 90,
          description:
            'Share of the file system that the spool leaves free, in percent. Below it, the oldest of the least important is given up, down to 16 MiB.',
        }),
      },
      { additionalProperties: false, default: {}, description: 'Events on their way, on disk.' },
    ),
    collectors: CollectorsConfig,
  },
  { additionalProperties: false, description: 'Configuration of the Firebreak agent.' },
)
export type Config = Static<typeof Config>

export interface LoadedConfig {
  readonly config: Config
  /** Dotted name of each value that was set, and where. What is not listed is a default. */
  readonly origins: ReadonlyMap<string, string>
}

export type ConfigRefusal = 'bad_config'

export interface ConfigSources {
  readonly path: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Dotted names and values from the command line. */
  readonly flags?: ReadonlyMap<string, unknown>
  /** Whether the file must exist: it was named by hand. */
  readonly required?: boolean
}

/** Reads every layer. `bad_config`: `why` holds one problem a line, each with its place. */
export function loadConfig(sources: ConfigSources): Result<LoadedConfig, ConfigRefusal> {
  const problems: Problem[] = []
  const layers: Layer[] = []
  if (existsSync(sources.path)) layers.push(readYamlLayer(sources.path, Config, problems))
  else if (sources.required) problems.push({ where: sources.path, what: 'there is no such file' })
  for (const dropIn of dropInsBeside(sources.path)) layers.push(readYamlLayer(dropIn, Config, problems))
  layers.push(environmentLayer('FIREBREAK', sources.env, Config, problems))
  for (const [name, value] of sources.flags ?? [])
    layers.push({ where: () => 'the command line', set: nest(name, value) })
  const laid = layOver(Config, layers, problems)
  if (laid === undefined) return refuse('bad_config', problems.map(({ where, what }) => `${where}: ${what}`).join('\n'))
  return ok({ config: laid.value as Config, origins: laid.origins })
}

function dropInsBeside(path: string): readonly string[] {
  const folder = join(dirname(path), 'conf.d')
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => name.endsWith('.yaml') && !name.startsWith('controller'))
    .sort()
    .map((name) => join(folder, name))
}

function nest(dotted: string, value: unknown): unknown {
  return dotted.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), value)
}
