/**
 * The configuration of a controller, declared once: the type, the check, the reference page and the sample file come from here.
 * Precedence: flag > environment (`FIREBREAK_SECTION_KEY`) > drop-in > file > default.
 */
import { LOG_LEVELS } from './config-places.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { Value } from 'typebox/value'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { ApiConfig } from './api/api-config.ts'
import { configFiles, leavesOf, readEnvironment, readYaml, type Setting, unknownKey } from './config-sources.ts'
import { CoverageConfig } from './coverage/coverage-config.ts'
import { DetectConfig } from './detect/detect-config.ts'
import { GatewayConfig } from './gateway/gateway-config.ts'
import { IndicatorsConfig } from './indicators/indicators-config.ts'
import { IngestConfig } from './ingest/ingest-config.ts'
import { RespondConfig } from './respond/respond-config.ts'
import { SearchConfig } from './search/search-config.ts'
import { BackupConfig } from './store/backup/backup-config.ts'
import { TelemetryConfig } from './store/telemetry/telemetry-config.ts'
import { TriageConfig } from './triage/triage-config.ts'

export const Config = Type.Object(
  {
    state_dir: Type.String({
      default: '/var/lib/firebreak',
      minLength: 1,
      maxLength: 4096,
      description: 'Everything that the controller keeps: state, telemetry, keys, trust files.',
    }),
    log: Type.Object(
      { level: Type.Enum([...LOG_LEVELS], { default: 'info', description: 'Least level that is written.' }) },
      { additionalProperties: false, default: {}, description: 'Log lines, JSON on standard output.' },
    ),
    api: ApiConfig,
    gateway: GatewayConfig,
    ingest: IngestConfig,
    telemetry: TelemetryConfig,
    backup: BackupConfig,
    detect: DetectConfig,
    indicators: IndicatorsConfig,
    coverage: CoverageConfig,
    triage: TriageConfig,
    respond: RespondConfig,
    search: SearchConfig,
  },
  { additionalProperties: false, description: 'Configuration of a Firebreak controller.' },
)
export type Config = Type.Static<typeof Config>
const configSchema = Compile(Config)
const leaves = leavesOf(Config)

export interface ConfigSources {
  /** Read when it is there; must be there when `fileRequired`. */
  readonly file: string
  readonly fileRequired: boolean
  readonly dropInDir?: string
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Key path, such as `gateway.port`, → value. */
  readonly flags?: Readonly<Record<string, unknown>>
}

export interface LoadedConfig {
  readonly config: Config
  /** Key path → where its value came from: a file and line, the name of a variable, a flag, or `default`. */
  readonly origins: ReadonlyMap<string, string>
}

/** `why` holds one line a problem. */
export function loadConfig(sources: ConfigSources): Result<LoadedConfig, 'bad_config'> {
  const problems: string[] = []
  const settings: Setting[] = []
  for (const [at, file] of configFiles(sources.file, sources.dropInDir).entries())
    settings.push(...readYaml(file, at === 0 && sources.fileRequired, leaves, problems))
  settings.push(...readEnvironment(sources.environment, leaves, problems))
  for (const [path, value] of Object.entries(sources.flags ?? {})) {
    if (leaves.has(path)) settings.push({ path, value, origin: 'flag' })
    else problems.push(unknownKey(path, [...leaves.keys()]))
  }
  const raw: Record<string, unknown> = {}
  for (const path of leaves.keys()) section(raw, path.split('.').slice(0, -1))
  const origins = new Map([...leaves.keys()].map((path) => [path, 'default']))
  for (const { path, value, origin } of settings) {
    place(raw, path.split('.'), value)
    origins.set(path, origin)
  }
  const whole = Value.Default(Config, raw)
  for (const error of configSchema.Errors(whole)) {
    const path = error.instancePath.slice(1).replaceAll('/', '.')
    const leaf = [...leaves.keys()].find((known) => path === known || path.startsWith(`${known}.`)) ?? path
    problems.push(`${origins.get(leaf) ?? 'configuration'}: ${path === '' ? 'the whole' : path} ${error.message}`)
  }
  if (problems.length > 0 || !configSchema.Check(whole)) return refuse('bad_config', problems.join('\n'))
  return ok({ config: whole, origins })
}

function place(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const name = path.at(-1)
  if (name !== undefined) section(target, path.slice(0, -1))[name] = value
}

/** The object of a section, made when it is not there. */
function section(target: Record<string, unknown>, path: readonly string[]): Record<string, unknown> {
  let at = target
  for (const name of path) at = (at[name] ??= {}) as Record<string, unknown>
  return at
}
