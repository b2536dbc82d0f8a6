import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { zstdDecompressSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { eventSchema } from '../events/event.ts'
import { truncateEvent } from '../events/truncate.ts'
import { ecsOfAudit } from './audit-ecs.ts'
import { type AuditEvent, AuditGrouper, GROUP_LIMITS } from './audit-events.ts'
import { AUDIT_LIMITS, parseAuditRecord } from './audit-record.ts'
import { parseSocketAddress } from './socket-address.ts'

const CONTEXT = { hostName: 'web-1' }
const SYSCALL =
  'type=SYSCALL msg=audit(1604994496.155:92733): arch=c000003e syscall=59 success=yes exit=0 a0=558e251634a0 a1=558e25162a50 a2=0 a3=8 items=2 ppid=29002 pid=1631 auid=1000 uid=1000 gid=1000 euid=0 tty=pts0 ses=104 comm="arp" exe="/usr/sbin/arp" key=(null)'

function eventsOf(...lines: readonly string[]) {
  const grouper = new AuditGrouper()
  const events: AuditEvent[] = []
  for (const [at, line] of lines.entries()) {
    const record = parseAuditRecord(line)
    if (!record.ok) throw new Error(`${record.why}: ${line}`)
    events.push(...grouper.push(record.value, at + 1))
  }
  return [...events, ...grouper.flush()]
}
const ecsOf = (...lines: readonly string[]) => eventsOf(...lines).map((event) => ecsOfAudit(event, CONTEXT))

describe('records of the audit system', () => {
  it('become one process start with arguments, folder, accounts and parent', () => {
    const [event, ...others] = ecsOf(
      SYSCALL,
      'type=EXECVE msg=audit(1604994496.155:92733): argc=3 a0="arp" a1=2D6120E282AC a2="x y"',
      'type=CWD msg=audit(1604994496.155:92733): cwd="/home/wardog"',
      'type=PATH msg=audit(1604994496.155:92733): item=0 name="/usr/sbin/arp" inode=13181 mode=0100755 nametype=NORMAL',
      'type=PROCTITLE msg=audit(1604994496.155:92733): proctitle=617270002D61',
      'type=EOE msg=audit(1604994496.155:92733): ',
    )
    expect(others).toEqual([])
    expect(event).toMatchObject({
      '@timestamp': '2020-11-10T07:48:16.155Z',
      event: { category: ['process'], type: ['start'], action: 'exec', outcome: 'success' },
      process: {
        pid: 1631,
        executable: '/usr/sbin/arp',
        name: 'arp',
        args: ['arp', '-a €', 'x y'],
        command_line: 'arp -a € x y',
        working_directory: '/home/wardog',
        tty: '/dev/pts/0',
        parent: { pid: 29002 },
      },
      user: { id: '1000', effective: { id: '0' }, audit: { id: '1000' } },
      auditd: { sequence: 92733, session: '104', data: { a0: 'arp', syscall: 'execve', arch: 'x86_64' } },
    })
  })

  it('are told apart by serial number when two events are written into each other', () => {
    const events = eventsOf(
      'type=SYSCALL msg=audit(1.000:1): syscall=59 arch=c000003e pid=10 success=yes',
      'type=SYSCALL msg=audit(1.000:2): syscall=59 arch=c000003e pid=20 success=yes',
      'type=EXECVE msg=audit(1.000:1): argc=1 a0="one"',
      'type=PROCTITLE msg=audit(1.000:2): proctitle="two"',
      'type=PROCTITLE msg=audit(1.000:1): proctitle="one"',
    )
    expect(events.map(({ serial, records, line }) => [serial, records.length, line])).toEqual([
      [2, 2, 2],
      [1, 3, 1],
    ])
  })

  it('that are never ended end when later ones are two seconds newer, or when too many are open', () => {
    const grouper = new AuditGrouper()
    const push = (line: string) => {
      const record = parseAuditRecord(line)
      return record.ok ? grouper.push(record.value, 1) : []
    }
    expect(push('type=SYSCALL msg=audit(10.000:1): pid=1')).toEqual([])
    expect(push('type=SYSCALL msg=audit(11.900:2): pid=1')).toEqual([])
    expect(push('type=SYSCALL msg=audit(12.001:3): pid=1').map(({ serial }) => serial)).toEqual([1])
    let ended = 0
    for (let serial = 10; serial < 10 + 2 * GROUP_LIMITS.openEvents; serial++)
      ended += push(`type=SYSCALL msg=audit(12.100:${serial}): pid=1`).length
    expect(grouper.openEvents).toBe(GROUP_LIMITS.openEvents)
    expect(ended).toBe(GROUP_LIMITS.openEvents + 2)
  })

  it('of one event keep a bounded number, and say how many more there were', () => {
    const [event] = eventsOf(
      ...Array.from({ length: 300 }, (_, n) => `type=PATH msg=audit(1.000:1): item=${n} name="/f${n}"`),
    )
    expect(event).toMatchObject({ leftOut: 300 - GROUP_LIMITS.records })
    expect(event?.records).toHaveLength(GROUP_LIMITS.records)
  })

  it('put arguments together that were split in the middle of a character', () => {
    const [event] = ecsOf(
      'type=EXECVE msg=audit(1.000:1): argc=3 a0="sh" a1_len=8 a1[0]=41E282',
      'type=EXECVE msg=audit(1.000:1): a1[1]=AC42 a2="end"',
    )
    expect(event?.process?.args).toEqual(['sh', 'A€B', 'end'])
  })

  it('say names that auditd added, and take those that ausearch wrote in the place of numbers', () => {
    const [enriched] = ecsOf(`${SYSCALL}\x1dARCH=x86_64 SYSCALL=execve AUID="wardog" UID="wardog" EUID="root"`)
    expect(enriched?.user).toEqual({
      id: '1000',
      name: 'wardog',
      effective: { id: '0', name: 'root' },
      audit: { id: '1000', name: 'wardog' },
    })
    const [interpreted] = ecsOf(
      'type=SYSCALL msg=audit(11/10/2020 07:48:16.155:92733) : arch=x86_64 syscall=connect success=no exit=EINPROGRESS(Operation now in progress) ppid=29002 pid=1631 auid=wardog uid=wardog euid=root tty=pts0 comm=curl exe=/usr/bin/curl key=(null) ',
      'type=SOCKADDR msg=audit(11/10/2020 07:48:16.155:92733) : saddr={ saddr_fam=inet laddr=192.0.2.7 lport=443 } ',
      'type=PROCTITLE msg=audit(11/10/2020 07:48:16.155:92733) : proctitle=curl https://192.0.2.7 -o x ',
    )
    expect(interpreted).toMatchObject({
      '@timestamp': '2020-11-10T07:48:16.155Z',
      event: { category: ['network'], action: 'connect', outcome: 'unknown' },
      destination: { ip: '192.0.2.7', port: 443 },
      process: { command_line: 'curl https://192.0.2.7 -o x' },
      user: { name: 'wardog', effective: { name: 'root' }, audit: { name: 'wardog' } },
    })
  })

  it('of other machines are read by their own table of system calls', () => {
    const [event] = ecsOf(
      'type=SYSCALL msg=audit(1.000:1): arch=c00000b7 syscall=203 success=yes pid=7 exe="/usr/bin/nc"',
      'type=SOCKADDR msg=audit(1.000:1): saddr=0A0001BB0000000020010DB8000000000000000000000001000000000000',
    )
    expect(event).toMatchObject({
      event: { action: 'connect' },
      destination: { ip: '2001:db8::1', port: 443 },
      network: { type: 'ipv6', direction: 'egress' },
    })
  })

  it('about accounts say who did it and to whom', () => {
    const [login, added, denied] = ecsOf(
      `type=USER_LOGIN msg=audit(1.000:1): pid=7 uid=0 auid=4294967295 ses=4294967295 msg='op=login acct="mallory" exe="/usr/sbin/sshd" hostname=? addr=192.0.2.9 terminal=ssh res=failed'`,
      `type=ADD_USER msg=audit(1.000:2): pid=8 uid=0 auid=1000 ses=3 msg='op=adding user id=1001 exe="/usr/sbin/useradd" hostname=h addr=? terminal=pts/1 res=success'`,
      'type=AVC msg=audit(1.000:3): avc:  denied  { read write } for  pid=9 comm="x" name="shadow" scontext=a tcontext=b tclass=file',
    )
    expect(login).toMatchObject({
      event: { category: ['authentication'], outcome: 'failure' },
      user: { name: 'mallory' },
      source: { ip: '192.0.2.9' },
    })
    expect(added).toMatchObject({
      event: { category: ['iam'], type: ['user', 'creation'], outcome: 'success' },
      user: { id: '0', audit: { id: '1000' }, target: { id: '1001' } },
    })
    expect(denied).toMatchObject({
      event: { category: ['intrusion_detection'], type: ['denied'] },
      auditd: { data: { seperms: 'read write', name: 'shadow' } },
    })
  })

  it('about files name the file and not its folder, and what a rename left behind', () => {
    const [renamed, tried] = ecsOf(
      'type=SYSCALL msg=audit(1.000:1): arch=c000003e syscall=82 success=yes pid=7',
      'type=CWD msg=audit(1.000:1): cwd="/tmp"',
      'type=PATH msg=audit(1.000:1): item=0 name="/tmp/" inode=1 mode=041777 nametype=PARENT',
      'type=PATH msg=audit(1.000:1): item=1 name="a.txt" inode=5 mode=0100600 nametype=DELETE',
      'type=PATH msg=audit(1.000:1): item=2 name="b.txt" inode=5 mode=0100600 nametype=CREATE',
      'type=PROCTITLE msg=audit(1.000:1): proctitle="mv"',
      'type=SYSCALL msg=audit(1.000:2): arch=c000003e syscall=87 success=no exit=-13 pid=7',
      'type=PATH msg=audit(1.000:2): item=0 name="/etc/shadow" nametype=DELETE',
    )
    expect(renamed).toMatchObject({
      event: { action: 'file-renamed', type: ['change'] },
      file: { path: '/tmp/b.txt', extension: 'txt', type: 'file', mode: '0600', previous: { path: '/tmp/a.txt' } },
    })
    expect(tried).toMatchObject({ event: { type: ['info'], outcome: 'failure' }, file: { path: '/etc/shadow' } })
  })

  it('are refused with the reason when they are none', () => {
    const codes = [
      '',
      'hello',
      'type=SYSCALL msg=audit(x:1): a=1',
      'type=SYSCALL msg=audit(99999999999.000:1): a=1',
      `type=SYSCALL msg=audit(1.0:1): ${'a'.repeat(AUDIT_LIMITS.line)}`,
      `type=SYSCALL msg=audit(1.0:1): ${Array.from({ length: AUDIT_LIMITS.fields + 1 }, (_, n) => `f${n}=1`).join(' ')}`,
    ].map((line) => {
      const record = parseAuditRecord(line)
      return record.ok ? 'ok' : record.code
    })
    expect(codes).toEqual(['not_audit', 'not_audit', 'bad_time', 'bad_time', 'too_long', 'too_many_fields'])
  })

  it('whatever they say, are read in bounded time and fit the schema of events', { timeout: 60_000 }, () => {
    const types = ['SYSCALL', 'EXECVE', 'PATH', 'CWD', 'SOCKADDR', 'PROCTITLE', 'USER_AUTH', 'ADD_USER', 'AVC', '1300']
    const names = ['a0', 'a1[3]', 'argc', 'saddr', 'exe', 'msg', 'pid', 'uid', 'ses', 'name', '__proto__', 'addr', 'id']
    const piece = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.constantFrom('"', "'", '="', " msg='", '\x1d', '(null)', '4142', '02000050C0000207', '\ud800', '{ x }'),
    )
    const line = fc
      .tuple(
        fc.constantFrom(...types),
        fc.integer({ min: 0, max: 4 }),
        fc.array(fc.tuple(fc.constantFrom(...names), fc.array(piece, { maxLength: 4 })), { maxLength: 8 }),
      )
      .map(
        ([type, serial, pairs]) =>
          `type=${type} msg=audit(1604994496.155:${serial}): ${pairs.map(([name, value]) => `${name}=${value.join('')}`).join(' ')}`,
      )
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), (lines) => {
        const grouper = new AuditGrouper()
        const events: AuditEvent[] = []
        let records = 0
        for (const text of lines) {
          const record = parseAuditRecord(text)
          if (!record.ok) continue
          records++
          events.push(...grouper.push(record.value, records))
        }
        events.push(...grouper.flush())
        const kept = events.reduce((sum, { records: own, leftOut }) => sum + own.length + leftOut, 0)
        expect(kept).toBe(records)
        for (const audited of events) {
          const event = truncateEvent(ecsOfAudit(audited, CONTEXT))
          expect([...eventSchema.Errors(event)]).toEqual([])
        }
      }),
      { numRuns: 100 },
    )
  })

  it('built to take long take no longer than others of their length', () => {
    const hostile = ['a="x '.repeat(13_000), 'msg='.repeat(16_000), "a='".repeat(20_000), '='.repeat(60_000)]
    for (const body of hostile) {
      const started = performance.now()
      parseAuditRecord(`type=SYSCALL msg=audit(1.0:1): ${body}`.slice(0, AUDIT_LIMITS.line))
      expect(performance.now() - started).toBeLessThan(2_000)
    }
  })

  it.each([
    ['02000050C0000207', { family: 'ipv4', ip: '192.0.2.7', port: 80 }],
    ['0100002F746D702F7800', { family: 'unix', path: '@/tmp/x' }],
    ['10000000', { family: 'other', number: 16 }],
    ['0200', undefined],
    ['zz', undefined],
  ])('know the address %s', (hex, address) => {
    expect(parseSocketAddress(hex)).toEqual(address)
  })

  const folder = fileURLToPath(new URL('../../../../shared/data/otrf-security-datasets/data/', import.meta.url))
  const logs = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.log.zst')) : []
  it.skipIf(logs.length === 0)('of recorded attacks are read whole (skipped without ../shared/data)', () => {
    for (const name of logs) {
      const lines = zstdDecompressSync(readFileSync(folder + name))
        .toString('utf8')
        .split('\n')
        .filter(Boolean)
      const events = ecsOf(...lines)
      expect(events.length).toBeGreaterThan(0)
      expect(events.every((event) => event.process?.args !== undefined && eventSchema.Check(event))).toBe(true)
    }
  })
})
