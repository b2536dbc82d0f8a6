/** Events as a quiet Linux host tells them; no two are the same. */
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { Event } from '@firebreak/shared/events/event.ts'

const PROGRAMS = ['bash', 'ls', 'grep', 'sshd', 'cron', 'python3', 'systemd', 'apt', 'curl', 'cat'] as const

/** The same without those that rules are written for. */
const QUIET_PROGRAMS = ['ls', 'grep', 'sshd', 'cron', 'python3', 'systemd', 'apt', 'cat', 'sed', 'sort'] as const

function programOf(n: number): string {
  return PROGRAMS[n % PROGRAMS.length] ?? 'bash'
}

export function processEvent(n: number, hostname: string, at = Date.now(), name = programOf(n)): Event {
  const time = new Date(at).toISOString()
  return {
    '@timestamp': time,
    event: {
      kind: 'event',
      category: ['process'],
      type: ['start'],
      action: 'process-started',
      dataset: 'firebreak.process',
      provider: 'simulated',
    },
    host: { name: hostname, os: { type: 'linux' } },
    process: {
      pid: 1_000 + (n % 30_000),
      entity_id: `${hostname}:${n}`,
      name,
      executable: `/usr/bin/${name}`,
      command_line: `${name} --quiet --number ${n} /var/lib/thing/${n % 97}`,
      args: [name, '--quiet', '--number', String(n), `/var/lib/thing/${n % 97}`],
      args_count: 5,
      working_directory: '/var/lib',
      start: time,
      user: { id: '33', name: 'www-data' },
      parent: { pid: 1, entity_id: `${hostname}:1`, name: 'systemd', executable: '/usr/lib/systemd/systemd' },
    },
  }
}

export function fileEvent(n: number, hostname: string, at = Date.now(), name = programOf(n)): Event {
  return {
    '@timestamp': new Date(at).toISOString(),
    event: {
      kind: 'event',
      category: ['file'],
      type: ['creation'],
      action: 'file-created',
      dataset: 'firebreak.file',
      provider: 'simulated',
    },
    host: { name: hostname, os: { type: 'linux' } },
    process: { pid: 1_000 + (n % 30_000), entity_id: `${hostname}:${n}`, name, executable: `/usr/bin/${name}` },
    file: { path: `/var/lib/thing/${n % 97}/part-${n}.dat`, name: `part-${n}.dat`, extension: 'dat', size: n % 65_536 },
    user: { id: '33', name: 'www-data' },
  }
}

export function connectionEvent(n: number, hostname: string, at = Date.now(), name = programOf(n)): Event {
  return {
    '@timestamp': new Date(at).toISOString(),
    event: {
      kind: 'event',
      category: ['network'],
      type: ['connection', 'start'],
      action: 'connection-opened',
      dataset: 'firebreak.network',
      provider: 'simulated',
    },
    host: { name: hostname, os: { type: 'linux' } },
    process: { pid: 1_000 + (n % 30_000), entity_id: `${hostname}:${n}`, name, executable: `/usr/bin/${name}` },
    source: { ip: '10.1.2.3', port: 32_768 + (n % 28_000) },
    destination: { ip: `10.9.${n % 250}.${(n * 7) % 250}`, port: n % 3 === 0 ? 443 : 5_432 },
    network: { transport: 'tcp', direction: 'egress' },
    user: { id: '33', name: 'www-data' },
  }
}

export interface ToldEvent {
  readonly class: EventClass
  readonly event: Event
}

/** What a host tells of all day: six in ten about processes, the rest about files and connections. Rules match every sixth or seventh. */
export function mixedEvent(n: number, hostname: string): ToldEvent {
  return toldEvent(n, hostname, programOf(n))
}

/** One event in so many has a program in it that a rule is written for. */
const QUIET_EVENTS = 1_000

/** The same as of a fleet that is left in peace: rules match one event in a thousand. */
export function quietEvent(n: number, hostname: string): ToldEvent {
  const program = n % QUIET_EVENTS === 0 ? 'curl' : (QUIET_PROGRAMS[n % QUIET_PROGRAMS.length] ?? 'ls')
  return toldEvent(n, hostname, program)
}

function toldEvent(n: number, hostname: string, program: string): ToldEvent {
  const at = Date.now()
  switch (n % 20) {
    case 3:
    case 7:
    case 11:
    case 15:
    case 19:
      return { class: 'file', event: fileEvent(n, hostname, at, program) }
    case 5:
    case 10:
    case 16:
      return { class: 'network', event: connectionEvent(n, hostname, at, program) }
    default:
      return { class: 'process', event: processEvent(n, hostname, at, program) }
  }
}
