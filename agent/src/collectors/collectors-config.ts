/** What the collectors may be told: one slice a source. `agent/src/config.ts` takes this schema in whole under the key `collectors`. */
import { MiB } from '@firebreak/shared/wire/units.ts'
import { Type, type TProperties } from 'typebox'

const slice = <P extends TProperties>(description: string, properties: P) =>
  Type.Object(
    {
      enabled: Type.Boolean({ default: true, description: 'Off: this source is not read, and the status says so.' }),
      ...properties,
    },
    { additionalProperties: false, default: {}, description },
  )
const paths = (initial: readonly string[], description: string) =>
  Type.Array(Type.String({ minLength: 1, maxLength: 4_096 }), {
    default: [...initial],
    maxItems: 256,
    description,
  })

export const KernelConfig = slice('What the kernel sensor sees. Where it cannot run, the slices below poll instead.', {
  sensor: Type.String({
    default: '/usr/lib/firebreak-agent/firebreak-sensor',
    minLength: 1,
    maxLength: 4_096,
    description: 'Path of the sensor, a program of its own.',
  }),
  dns: Type.Boolean({ default: true, description: 'Whether questions for names and their answers are told.' }),
  coalesce_us: Type.Integer({
    default: 1_000,
    minimum: 0,
    maximum: 100_000,
    description:
      'How long the sensor gathers records after it wrote some, µs: less work for the host, later by so much.',
  }),
})

export const ProcessConfig = slice('Process starts and ends, by reading /proc again and again.', {
  interval_ms: Type.Integer({
    default: 200,
    minimum: 20,
    maximum: 60_000,
    description: 'Time between two looks. A process that lives shorter than this can be missed.',
  }),
  hash_max_bytes: Type.Integer({
    default: 64 * MiB,
    minimum: 0,
    maximum: 1024 * MiB,
    description: 'Executables up to this size get a SHA-256, in bytes. 0: none.',
  }),
  hash_bytes_per_s: Type.Integer({
    default: 32 * MiB,
    minimum: MiB,
    maximum: 4096 * MiB,
    description: 'How fast executables are read for their SHA-256 at most, bytes a second.',
  }),
})

/** Where an intruder on Linux has to write to stay, to gain rights or to hide. A pattern may hold `*` for one path part. */
export const DEFAULT_FILE_PATHS = [
  '/etc',
  '/usr/local/bin',
  '/usr/local/sbin',
  '/root/.ssh',
  '/home/*/.ssh',
  '/var/spool/cron',
  '/usr/lib/systemd/system',
  '/dev/shm',
] as const

export const FileConfig = slice('Changes of files below the watched paths.', {
  paths: paths(
    DEFAULT_FILE_PATHS,
    'Files and folders to watch, absolute; `*` stands for one path part or a piece of it.',
  ),
  exclude: paths(
    ['/etc/ld.so.cache~', '/dev/shm/PostgreSQL.*'],
    'Files and folders that are left out, in the same form.',
  ),
  max_files: Type.Integer({
    default: 20_000,
    minimum: 1,
    maximum: 1_000_000,
    description: 'Watched files and folders at most; what lies past it is not seen, and the status says so.',
  }),
  max_depth: Type.Integer({
    default: 6,
    minimum: 0,
    maximum: 64,
    description: 'How many folders below a watched path are looked into.',
  }),
  hash_max_bytes: Type.Integer({
    default: 8 * MiB,
    minimum: 0,
    maximum: 256 * MiB,
    description: 'Changed files up to this size get a SHA-256, in bytes. 0: none.',
  }),
  rename_window_ms: Type.Integer({
    default: 500,
    minimum: 50,
    maximum: 10_000,
    description: 'How long after a file went away the same inode under another path still counts as a rename.',
  }),
})

export const NetworkConfig = slice('Connections and listening ports, by reading /proc/net again and again.', {
  interval_ms: Type.Integer({
    default: 1_000,
    minimum: 100,
    maximum: 60_000,
    description: 'Time between two looks. A connection that lives shorter than this can be missed.',
  }),
  loopback: Type.Boolean({ default: true, description: 'Whether connections of the host with itself are told.' }),
})

export const AuditConfig = slice(
  "What auditd's log tells of process starts and connections, where the kernel sensor cannot run and the audit rules record them.",
  {
    log_path: Type.String({
      default: '/var/log/audit/audit.log',
      minLength: 1,
      maxLength: 4_096,
      description: "auditd's log.",
    }),
    interval_ms: Type.Integer({
      default: 200,
      minimum: 20,
      maximum: 60_000,
      description: 'Time between two looks at the log.',
    }),
  },
)

export const LoginsConfig = slice('Logins, failed logins, su and sudo.', {
  source: Type.Enum(['auto', 'journal', 'file'], {
    default: 'auto',
    description: 'journal: journalctl; file: auth_log_paths; auto: the journal where there is one, else the file.',
  }),
  auth_log_paths: paths(
    ['/var/log/auth.log', '/var/log/secure'],
    'Log files of the authentication facility; the first that exists is read.',
  ),
  interval_ms: Type.Integer({
    default: 500,
    minimum: 50,
    maximum: 60_000,
    description: 'Time between two looks at log files and at utmp, wtmp and btmp.',
  }),
})

export const InventoryConfig = slice(
  'What the host is made of: packages, ports, accounts, sudo rules, SSH keys, cron jobs, units, modules, mounts, containers.',
  {
    interval_h: Type.Integer({
      default: 24,
      minimum: 1,
      maximum: 720,
      description: 'Time between two tellings of everything; in between only differences are told.',
    }),
    change_check_s: Type.Integer({
      default: 60,
      minimum: 1,
      maximum: 86_400,
      description:
        'How often every place is looked at for a difference, seconds; those that can be watched are, besides.',
    }),
    fast_check_s: Type.Integer({
      default: 15,
      minimum: 1,
      maximum: 86_400,
      description: 'The same for what cannot be watched: listening ports, kernel modules, mounts, containers.',
    }),
    max_packages: Type.Integer({
      default: 20_000,
      minimum: 1,
      maximum: 200_000,
      description: 'Packages of one package manager told at most; more are counted as lost.',
    }),
    npm_sites: paths(
      [
        '/usr/lib/node_modules',
        '/usr/local/lib/node_modules',
        '/opt/*/node_modules',
        '/srv/*/node_modules',
        '/var/www/*/node_modules',
      ],
      'node_modules folders whose packages are told; `*` stands for one path part or a piece of it.',
    ),
    python_sites: paths(
      [
        '/usr/lib/python3/dist-packages',
        '/usr/lib/python3*/site-packages',
        '/usr/local/lib/python3*/dist-packages',
        '/usr/local/lib/python3*/site-packages',
        '/opt/*/lib/python3*/site-packages',
        '/srv/*/lib/python3*/site-packages',
      ],
      'site-packages and dist-packages folders whose packages are told, in the same form.',
    ),
  },
)

export const CollectorsConfig = Type.Object(
  {
    kernel: KernelConfig,
    audit: AuditConfig,
    process: ProcessConfig,
    file: FileConfig,
    network: NetworkConfig,
    logins: LoginsConfig,
    inventory: InventoryConfig,
  },
  { additionalProperties: false, default: {}, description: 'What the agent watches.' },
)
export type CollectorsConfig = Type.Static<typeof CollectorsConfig>
