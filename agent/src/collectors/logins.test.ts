import { appendFileSync, chmodSync, existsSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '@firebreak/shared/clock.ts'
import { afterEach, describe, expect, it } from 'vitest'
import { RecordedEmit, waitFor } from './collector.fake.ts'
import type { Collector } from './collector.ts'
import { createLoginsCollector } from './logins.ts'
import { FakeProcfs } from './procfs.fake.ts'
import { parseUtmp, utmpLayoutOf } from './utmp.ts'

const running: Collector[] = []
afterEach(async () => {
  for (const collector of running.splice(0)) await collector.stop()
})

async function watch(fake: FakeProcfs, source: 'auto' | 'journal' | 'file' = 'auto', journalctl = 'journalctl') {
  const collector = createLoginsCollector(
    {
      clock: systemClock,
      hostName: 'web-1',
      root: fake.root,
      architecture: 'x64',
      journalctl,
      stateFolder: join(fake.folder, 'state'),
    },
    { enabled: true, source, auth_log_paths: ['/var/log/auth.log'], interval_ms: 30 },
  )
  running.push(collector)
  const emit = new RecordedEmit()
  await collector.start(emit)
  return { collector, emit }
}
const failure = (user: string) =>
  `Nov 24 08:15:48 web-1 sshd[9]: Failed password for ${user} from 192.0.2.1 port 4022 ssh2\n`
const failed = (user: string) => (event: { user?: { name?: string } | undefined }) => event.user?.name === user

describe('from a log file', () => {
  it('tells what is appended, and nothing of what was there before', async () => {
    using fake = new FakeProcfs()
    fake.write('var/log/auth.log', failure('before'))
    const log = join(fake.root, 'var/log/auth.log')
    const { emit } = await watch(fake)
    appendFileSync(log, failure('root').slice(0, 30))
    appendFileSync(log, failure('root').slice(30))
    const event = await emit.find('the failure', failed('root'))
    expect(event).toMatchObject({
      event: { category: ['authentication'], action: 'ssh-login', outcome: 'failure', provider: 'auth-log' },
      source: { ip: '192.0.2.1', port: 4022 },
      process: { name: 'sshd', pid: 9 },
    })
    expect(emit.events.length).toBe(1)
  })

  it('goes on over rotation and over truncation', async () => {
    using fake = new FakeProcfs()
    fake.write('var/log/auth.log', '')
    const log = join(fake.root, 'var/log/auth.log')
    const { emit } = await watch(fake)
    appendFileSync(log, failure('one'))
    renameSync(log, `${log}.1`)
    appendFileSync(`${log}.1`, failure('two'))
    writeFileSync(log, failure('three'))
    await emit.find('the line after the rotation', failed('three'))
    truncateSync(log, 0)
    await new Promise((resolve) => setTimeout(resolve, 100))
    appendFileSync(log, failure('four'))
    await emit.find('the line after the truncation', failed('four'))
    expect(emit.events.map((event) => event.user?.name)).toEqual(['one', 'two', 'three', 'four'])
  })

  it('tells a sudo command with who ran it as whom, and keeps the whole line', async () => {
    using fake = new FakeProcfs()
    fake.write('var/log/auth.log', '')
    const { emit } = await watch(fake)
    const message = 'alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/cat /etc/shadow'
    appendFileSync(join(fake.root, 'var/log/auth.log'), `2026-11-24T08:15:48.5+00:00 web-1 sudo: ${message}\n`)
    expect(await emit.find('the command', (event) => event.event.action === 'sudo-command')).toMatchObject({
      '@timestamp': '2026-11-24T08:15:48.500Z',
      user: { name: 'alice', effective: { name: 'root' } },
      process: { command_line: '/usr/bin/cat /etc/shadow', working_directory: '/home/alice' },
      message,
    })
  })

  it('says that it sees less when neither journal nor log is there', async () => {
    using fake = new FakeProcfs()
    fake.write('var/log/wtmp', '')
    const { collector } = await watch(fake)
    expect(collector.health()).toMatchObject({ state: 'degraded', why: expect.stringContaining('sudo') })
  })
})

describe('from the journal', () => {
  const entry = (cursor: string, fields: Record<string, unknown>) =>
    JSON.stringify({ __CURSOR: cursor, __REALTIME_TIMESTAMP: '1764000000000000', _PID: '7', ...fields })
  const ssh = (user: string) => `Failed password for ${user} from 192.0.2.1 port 4022 ssh2`

  /** Stands in for journalctl: prints recorded entries, writes down how it was called, stays or ends. */
  function program(fake: FakeProcfs, entries: readonly string[], end = 'exec sleep 60'): string {
    const path = join(fake.folder, 'journalctl')
    fake.write('run/systemd/journal/socket', '')
    writeFileSync(join(fake.folder, 'entries'), `${entries.join('\n')}\n`)
    writeFileSync(path, `#!/bin/sh\necho "$@" >> ${fake.folder}/calls\ncat ${fake.folder}/entries\n${end}\n`)
    chmodSync(path, 0o755)
    return path
  }

  it('tells entries of root and of setuid programs, and leaves out what anybody else wrote under their name', async () => {
    using fake = new FakeProcfs()
    const journalctl = program(fake, [
      entry('s=1', { SYSLOG_IDENTIFIER: 'sshd', MESSAGE: ssh('forged'), _UID: '1000', _EXE: '/usr/bin/logger' }),
      entry('s=2', { SYSLOG_IDENTIFIER: 'sshd', MESSAGE: ssh('root'), _UID: '0', _EXE: '/usr/sbin/sshd' }),
      entry('s=3', {
        SYSLOG_IDENTIFIER: 'sudo',
        MESSAGE: 'alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/id',
        _UID: '1000',
        _EXE: '/usr/bin/sudo',
      }),
      entry('s=4', { SYSLOG_IDENTIFIER: 'sshd', MESSAGE: [...Buffer.from(ssh('b')), 0xff], _UID: '0' }),
    ])
    const { collector, emit } = await watch(fake, 'auto', journalctl)
    await emit.find('the sudo command', (event) => event.event.action === 'sudo-command')
    expect(emit.events.map((event) => event.user?.name)).toEqual(['root', 'alice'])
    expect(collector.health()).toMatchObject({
      state: 'running',
      why: expect.stringContaining('1 lines of unprivileged'),
    })
  })

  it('goes on after a restart where it was, and begins with what is new the first time', async () => {
    using fake = new FakeProcfs()
    const journalctl = program(fake, [
      entry('s=abc;i=1', { SYSLOG_IDENTIFIER: 'sshd', MESSAGE: ssh('root'), _UID: '0' }),
    ])
    const first = await watch(fake, 'journal', journalctl)
    await first.emit.find('the failure', failed('root'))
    await first.collector.stop()
    const second = await watch(fake, 'journal', journalctl)
    await second.emit.find('the failure again', failed('root'))
    const [before, after] = readFileSync(join(fake.folder, 'calls'), 'utf8').trim().split('\n')
    expect(before).toContain('--lines=0')
    expect(before).toContain('SYSLOG_IDENTIFIER=sudo')
    expect(after).toContain('--after-cursor=s=abc;i=1')
  })

  it('counts entries that cannot be read, and says when journalctl ends', async () => {
    using fake = new FakeProcfs()
    const journalctl = program(
      fake,
      ['{"MESSAGE": null}', 'no json', 'x'.repeat(100_000)],
      'echo broken journal >&2; exit 1',
    )
    const { collector, emit } = await watch(fake, 'journal', journalctl)
    await waitFor('three losses', () => emit.lostCount === 3 || undefined)
    await waitFor('the trouble', () => collector.health().why?.includes('broken journal') || undefined)
    expect(collector.health()).toMatchObject({ state: 'degraded', lost: 3 })
  })

  it('is degraded, not dead, when there is no journalctl', async () => {
    using fake = new FakeProcfs()
    const { collector } = await watch(fake, 'journal', '/nonexistent/journalctl')
    await waitFor('the trouble', () => collector.health().state === 'degraded' || undefined)
  })
})

describe('from utmp, wtmp and btmp', () => {
  function record(type: number, line: string, user: string, host: string, ip: readonly number[] = []): Buffer {
    const bytes = Buffer.alloc(384)
    bytes.writeInt16LE(type, 0)
    bytes.writeInt32LE(4_711, 4)
    bytes.write(line, 8)
    bytes.write(user, 44)
    bytes.write(host, 76)
    bytes.writeInt32LE(1_764_000_000, 340)
    bytes.writeInt32LE(250_000, 344)
    Buffer.from(ip).copy(bytes, 348)
    return bytes
  }

  it('tells sessions that open and close, also when a record comes in two pieces', async () => {
    using fake = new FakeProcfs()
    fake.write('var/log/wtmp', record(7, 'pts/9', 'old', ''))
    fake.write('run/utmp', record(7, 'tty1', 'here', ''))
    const { emit } = await watch(fake)
    await emit.find(
      'the open session',
      (event) => event.event.action === 'session-existing' && event.user?.name === 'here',
    )
    const opened = record(7, 'pts/0', 'alice', '192.0.2.7', [192, 0, 2, 7])
    appendFileSync(join(fake.root, 'var/log/wtmp'), opened.subarray(0, 100))
    await new Promise((resolve) => setTimeout(resolve, 60))
    appendFileSync(join(fake.root, 'var/log/wtmp'), Buffer.concat([opened.subarray(100), record(8, 'pts/0', '', '')]))
    expect(await emit.find('the login', (event) => event.event.action === 'logged-in')).toMatchObject({
      '@timestamp': new Date(1_764_000_000_250).toISOString(),
      event: { category: ['session'], type: ['start'], provider: 'wtmp' },
      user: { name: 'alice' },
      source: { ip: '192.0.2.7' },
      process: { pid: 4_711, tty: 'pts/0' },
    })
    await emit.find('the logout', (event) => event.event.action === 'logged-out')
    expect(emit.events.some((event) => event.user?.name === 'old')).toBe(false)
  })

  it('reads failures from btmp only where no text tells them', async () => {
    for (const hasLog of [true, false]) {
      using fake = new FakeProcfs()
      fake.write('var/log/wtmp', '')
      fake.write('var/log/btmp', '')
      if (hasLog) fake.write('var/log/auth.log', '')
      const { collector, emit } = await watch(fake)
      appendFileSync(join(fake.root, 'var/log/btmp'), record(6, 'ssh:notty', 'root', '192.0.2.9', [192, 0, 2, 9]))
      appendFileSync(join(fake.root, 'var/log/wtmp'), record(7, 'pts/1', 'mark', ''))
      if (!hasLog) await emit.find('the failure', (event) => event.event.action === 'login-failed')
      await emit.find('the mark', failed('mark'))
      expect(emit.events.some((event) => event.event.action === 'login-failed')).toBe(!hasLog)
      await collector.stop()
    }
  })

  it('reads the records of this host, if it has any', ({ skip }) => {
    if (!existsSync('/var/log/wtmp') || readFileSync('/var/log/wtmp').length === 0)
      skip('1 check left out: /var/log/wtmp is empty here')
    const { records, rest } = parseUtmp(readFileSync('/var/log/wtmp'), utmpLayoutOf(process.arch))
    expect(rest).toBe(0)
    expect(records.every((one) => one.type >= 0 && one.type <= 9)).toBe(true)
  })
})
