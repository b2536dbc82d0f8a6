import { spawnSync } from 'node:child_process'
import { appendFileSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '@firebreak/shared/clock.ts'
import { afterEach, describe, expect, it } from 'vitest'
import { AuditDaemon, noAudit } from './audit-daemon.fixture.ts'
import { createAuditCollector } from './audit.ts'
import { RecordedEmit, waitFor } from './collector.fake.ts'
import { describeCollector } from './collector.contract.ts'
import type { Collector } from './collector.ts'
import { ExecutableIdentities } from './executable-identities.ts'
import { createPackageOwners } from './package-owners.ts'
import { ProcessTable } from './process-table.ts'
import { FakeProcfs } from './procfs.fake.ts'
import { Sources } from './sources.ts'

const LOG = 'var/log/audit/audit.log'
const RULES = '-D\n-b 8192\n-a always,exit -F arch=b64 -S execve,execveat -F key=exec\n'
const NOW_S = Math.floor(Date.now() / 1_000)

let serial = 100
/** As auditd writes it. */
function exec(pid: number, args: readonly string[], more = ''): string {
  const id = `audit(${NOW_S}.250:${++serial})`
  const exe = `/usr/bin/${args[0] ?? ''}`
  return [
    `type=SYSCALL msg=${id}: arch=c000003e syscall=59 success=yes exit=0 ppid=1 pid=${pid} auid=1000 uid=1000 gid=1000 euid=0 tty=pts0 ses=3 comm="${args[0] ?? ''}" exe="${exe}" key="exec"${more}`,
    `type=EXECVE msg=${id}: argc=${args.length} ${args.map((arg, at) => `a${at}="${arg}"`).join(' ')}`,
    `type=CWD msg=${id}: cwd="/tmp"`,
    `type=PATH msg=${id}: item=0 name="${exe}" inode=5 mode=0100755 nametype=NORMAL`,
    `type=PROCTITLE msg=${id}: proctitle="${args[0] ?? ''}"\n`,
  ].join('\n')
}
function connect(pid: number): string {
  const id = `audit(${NOW_S}.300:${++serial})`
  return [
    `type=SYSCALL msg=${id}: arch=c000003e syscall=42 success=no exit=-115 ppid=1 pid=${pid} uid=1000 comm="curl" exe="/usr/bin/curl"`,
    `type=SOCKADDR msg=${id}: saddr=02000050C0000207`,
    `type=PROCTITLE msg=${id}: proctitle="curl"\n`,
  ].join('\n')
}

const opened: { readonly collector: Collector; readonly fake: FakeProcfs }[] = []
afterEach(async () => {
  for (const { collector, fake } of opened.splice(0)) {
    await collector.stop()
    fake[Symbol.dispose]()
  }
})

function make(
  fake: FakeProcfs,
  changes: {
    readonly logPath?: string
    readonly enabled?: boolean
    readonly sources?: Sources
    readonly hostName?: string
  } = {},
) {
  const table = new ProcessTable({ clock: systemClock, procRoot: fake.procRoot, root: fake.root })
  const sources = changes.sources ?? new Sources(systemClock)
  const executables = new ExecutableIdentities(
    { clock: systemClock, owners: createPackageOwners(fake.root), mountNamespace: undefined },
    { max_bytes: 0, bytes_per_s: 1_048_576 },
  )
  const collector = createAuditCollector(
    {
      clock: systemClock,
      hostName: changes.hostName ?? 'web-1',
      platform: 'linux',
      root: changes.logPath === undefined ? fake.root : '/',
      table,
      executables,
      sources,
    },
    { enabled: changes.enabled ?? true, log_path: changes.logPath ?? `/${LOG}`, interval_ms: 30 },
  )
  return { collector, sources, table }
}

async function watch(before = '', rules = RULES, daemon?: number) {
  const fake = new FakeProcfs()
  fake.write('etc/audit/audit.rules', rules)
  fake.write(LOG, before)
  if (daemon !== undefined) {
    fake.write('run/auditd.pid', `${daemon}\n`)
    fake.addVanished(daemon)
  }
  const made = make(fake)
  opened.push({ collector: made.collector, fake })
  expect(await made.collector.canRun()).toEqual({ ok: true, value: undefined })
  const emit = new RecordedEmit()
  await made.collector.start(emit)
  return { ...made, emit, fake, log: join(fake.root, LOG) }
}

describe('the audit log', () => {
  it('tells process starts with arguments, accounts and an identity, also of what has ended before it was read', async () => {
    const { emit, log } = await watch(exec(7, ['before']))
    appendFileSync(log, exec(4_000_001, ['curl', '-s', 'http://192.0.2.7/x']))
    const event = await emit.find('the start', ({ process }) => process?.pid === 4_000_001)
    expect(event).toMatchObject({
      event: { category: ['process'], type: ['start'], action: 'process-started', provider: 'auditd' },
      host: { name: 'web-1' },
      process: {
        name: 'curl',
        executable: '/usr/bin/curl',
        args: ['curl', '-s', 'http://192.0.2.7/x'],
        command_line: 'curl -s http://192.0.2.7/x',
        working_directory: '/tmp',
        entity_id: expect.stringMatching(/-4000001-\d+$/),
        parent: { pid: 1 },
      },
      user: { id: '1000', effective: { id: '0' }, audit: { id: '1000' } },
      auditd: { message_type: expect.arrayContaining(['EXECVE']) },
    })
    expect(emit.events.some(({ process }) => process?.name === 'before')).toBe(false)
  })

  it('goes on over rotation, and puts records together that came in pieces', async () => {
    const { emit, log } = await watch()
    const text = exec(4_000_002, ['one'])
    appendFileSync(log, text.slice(0, 200))
    appendFileSync(log, text.slice(200))
    await emit.find('the first', ({ process }) => process?.name === 'one')
    appendFileSync(log, exec(4_000_003, ['two']))
    renameSync(log, `${log}.1`)
    writeFileSync(log, exec(4_000_004, ['three']))
    await emit.find('the second', ({ process }) => process?.name === 'two')
    await emit.find('the third', ({ process }) => process?.name === 'three')
  })

  it('tells connections where the rules record them', async () => {
    const { emit, log, sources } = await watch('', `${RULES}-a always,exit -F arch=b64 -S connect -F key=net\n`)
    expect(sources.status().find(({ class: name }) => name === 'network')).toMatchObject({
      source: 'audit',
      quality: 'partial',
    })
    appendFileSync(log, connect(4_000_005))
    const event = await emit.find('the connection', ({ destination }) => destination?.port === 80)
    expect(event).toMatchObject({
      event: { category: ['network'], action: 'connection-attempted' },
      destination: { ip: '192.0.2.7' },
      process: { name: 'curl' },
    })
  })

  it('is silent while a better source speaks, and speaks when that falls silent', async () => {
    const { emit, log, sources, collector } = await watch()
    sources.offer('kernel', 'process', { source: 'sensor', quality: 'full' })
    appendFileSync(log, exec(4_000_006, ['unheard']))
    await waitFor('it to stand by', () => collector.health().why?.includes('stands by'))
    await new Promise((resolve) => setTimeout(resolve, 120))
    sources.withdraw('kernel', 'process')
    appendFileSync(log, exec(4_000_007, ['heard']))
    await emit.find('the start', ({ process }) => process?.name === 'heard')
    expect(emit.events.some(({ process }) => process?.name === 'unheard')).toBe(false)
    expect(sources.status().find(({ class: name }) => name === 'process')).toMatchObject({
      source: 'audit',
      reason: 'degraded_to_audit',
    })
  })

  it('counts records that cannot be read', async () => {
    const { emit, log, collector } = await watch()
    appendFileSync(log, `type=EXECVE msg=audit(broken): a0="x"\n${'x'.repeat(100_000)}\n`)
    await waitFor('the loss', () => (collector.health().lost === 2 ? true : undefined))
    expect(emit.events).toEqual([])
  })

  it('says that it sees nothing any more when auditd has ended', async () => {
    const { collector, sources, fake } = await watch('', RULES, 4_242)
    expect(collector.health()).toMatchObject({ state: 'running' })
    rmSync(join(fake.root, 'run/auditd.pid'))
    await waitFor('it to notice', () => (collector.health().state === 'degraded' ? true : undefined))
    expect(collector.health().why).toBe('auditd has ended')
    expect(sources.status().find(({ class: name }) => name === 'process')).toMatchObject({ source: 'none' })
  })

  it('is no source when nobody records what is started', async () => {
    const fake = new FakeProcfs()
    fake.write('etc/audit/audit.rules', '-D\n-w /etc/passwd -p wa\n')
    fake.write(LOG, 'type=USER_LOGIN msg=audit(1.0:1): pid=1\n')
    const { collector } = make(fake)
    opened.push({ collector, fake })
    expect(await collector.canRun()).toMatchObject({ ok: false, code: 'missing_source' })
    fake.write(LOG, exec(1, ['seen']))
    expect(await collector.canRun()).toEqual({ ok: true, value: undefined })
  })
})

const noDaemon = noAudit()

describe.skipIf(noDaemon)(
  `what the kernel records and auditd writes${noDaemon ? ` (skipped: ${noDaemon})` : ''}`,
  () => {
    it('is told with program, arguments of any bytes, account and connections', async () => {
      const ours = ['-F', `ppid=${process.pid}`, '-k', 'firebreak-test']
      await using daemon = new AuditDaemon([
        ['always,exit', '-F', 'arch=b64', '-S', 'execve', ...ours],
        ['always,exit', '-F', 'arch=b64', '-S', 'connect', '-F', 'a2=16', ...ours],
      ])
      await daemon.on()
      spawnSync('true')
      await waitFor('the log', () => readFileSync(daemon.logPath, 'latin1').includes('type=EXECVE'))
      const fake = new FakeProcfs()
      fake.write('etc/passwd', 'root:x:0:0::/root:/bin/sh\n')
      const { collector } = make(fake, { logPath: daemon.logPath })
      opened.push({ collector, fake })
      expect(await collector.canRun()).toEqual({ ok: true, value: undefined })
      const emit = new RecordedEmit()
      await collector.start(emit)
      const program = 'use Socket; socket S, PF_INET, SOCK_STREAM, 0; connect S, sockaddr_in(9, inet_aton("127.0.0.7"))'
      const child = spawnSync('sh', ['-c', `exec perl -e '${program}' "$(printf 'a\\nb\\377')" ''`])
      const started = await emit.find('the start', ({ process: one }) => one?.pid === child.pid && one.name === 'perl')
      expect(started).toMatchObject({
        event: { type: ['start'], provider: 'auditd' },
        process: { args: ['perl', '-e', program, 'a\nb\\xff', ''], parent: { pid: process.pid } },
        user: { id: '0' },
      })
      const tried = await emit.find('the connection', ({ destination }) => destination?.port === 9)
      expect(tried).toMatchObject({
        event: { action: 'connection-attempted', outcome: 'failure' },
        destination: { ip: '127.0.0.7' },
        process: { pid: child.pid, name: 'perl', entity_id: started.process?.entity_id },
      })
      expect(daemon.lost()).toBe(0)
    })
  },
)

describeCollector('the audit log', {
  running() {
    const fake = new FakeProcfs()
    fake.write('etc/audit/audit.rules', RULES)
    fake.write(LOG, '')
    const { collector } = make(fake, { hostName: 'contract-host' })
    return {
      collector,
      provoke: () => appendFileSync(join(fake.root, LOG), exec(4_000_010, ['id'])),
      lose: () => appendFileSync(join(fake.root, LOG), 'type=EXECVE msg=audit(broken): a0="x"\n'),
      cleanUp: () => fake[Symbol.dispose](),
    }
  },
  withoutSource: () => make(new FakeProcfs()).collector,
  switchedOff: () => make(new FakeProcfs(), { enabled: false }).collector,
})
