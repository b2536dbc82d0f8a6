/** Events as a quiet Linux host tells them; no two are the same. */
import type { Event } from '@firebreak/shared/events/event.ts'

const PROGRAMS = ['bash', 'ls', 'grep', 'sshd', 'cron', 'python3', 'systemd', 'apt', 'curl', 'cat'] as const

export function processEvent(n: number, hostname: string, at = Date.now()): Event {
  const name = PROGRAMS[n % PROGRAMS.length] ?? 'bash'
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
