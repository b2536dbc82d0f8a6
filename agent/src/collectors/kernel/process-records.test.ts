import { systemClock } from '@firebreak/shared/clock.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { entityIdOf } from '../../platform/linux/process-identity.ts'
import { RecordedEmit } from '../collector.fake.ts'
import { EmitTally } from '../emit-tally.ts'
import { ExecutableIdentities } from '../executable-identities.ts'
import { createPackageOwners } from '../package-owners.ts'
import { ProcessTable } from '../process-table.ts'
import { BOOT_ID, FakeProcfs } from '../procfs.fake.ts'
import { ProcessRecords } from './process-records.ts'
import { BatchTimes } from './record-times.ts'
import { NO_UID, type SensorActor, type SensorExec, type SensorExit, type SensorFork } from './sensor-records.ts'

const MS = 1_000_000n
const text = (value: string) => ({ bytes: Buffer.from(value), total: Buffer.byteLength(value) })
let fake: FakeProcfs
let emit: RecordedEmit
let table: ProcessTable
let records: ProcessRecords
let executables: ExecutableIdentities

/** `born`: ms since boot at which it started. */
interface Who {
  readonly pid: number
  readonly born: number
  readonly parent: { readonly pid: number; readonly born: number }
}

function actor({ pid, born, parent }: Who): SensorActor {
  return {
    pid,
    tid: pid,
    ppid: parent.pid,
    startBoottimeNs: BigInt(born) * MS,
    parentStartBoottimeNs: BigInt(parent.born) * MS,
    uid: 0,
    gid: 0,
    euid: 0,
    egid: 0,
    loginUid: NO_UID,
    auditSession: 0,
    session: 1,
    tty: 0,
    cgroup: 1n,
    namespaces: { pid: 1, mnt: 2, net: 3, user: 4, uts: 5, ipc: 6, cgroup: 7 },
    innerPid: pid,
    capEffective: 0n,
    comm: Buffer.from('prog'),
  }
}
const base = (atMs: number) => ({ seq: 1n, cpu: 0, monotonicNs: BigInt(atMs) * MS, boottimeNs: BigInt(atMs) * MS })
const fork = (who: Who): SensorFork => ({
  ...base(who.born),
  kind: 'fork',
  class: 'process',
  actor: actor(who),
  callerPid: who.parent.pid,
  callerStartBoottimeNs: BigInt(who.parent.born) * MS,
  newNamespaces: false,
})
const exec = (who: Who, atMs: number, path: string): SensorExec => ({
  ...base(atMs),
  kind: 'exec',
  class: 'process',
  actor: actor(who),
  file: { inode: 9n, device: 0, mtimeNs: 1n, ctimeNs: 1n, size: 1, mode: 0o100755, ownerUid: 0, ownerGid: 0, links: 1 },
  isMemfd: false,
  isDeleted: false,
  gainedPrivileges: false,
  isScript: false,
  argc: 1,
  oldTid: who.pid,
  capPermitted: 0n,
  executable: text(path),
  fileName: text(path),
  interpreter: text(''),
  workingDirectory: text('/'),
  arguments: text(`${path}\0`),
  cgroupPath: text('/'),
})
const exit = (who: Who, atMs: number, code = 0): SensorExit => ({
  ...base(atMs),
  kind: 'exit',
  class: 'process',
  actor: actor(who),
  code,
  signal: 0,
  coreDumped: false,
  runtimeNs: BigInt(atMs - who.born) * MS,
})

beforeEach(() => {
  fake = new FakeProcfs()
  emit = new RecordedEmit()
  table = new ProcessTable({ clock: systemClock, procRoot: fake.procRoot, root: fake.root })
  const owners = createPackageOwners(fake.root)
  executables = new ExecutableIdentities({ clock: systemClock, owners }, { max_bytes: 0, bytes_per_s: 1 })
  const out = new EmitTally()
  out.open(emit)
  table.recordsSinceMs = 0
  const times = new BatchTimes(
    () => Date.UTC(2026, 0, 1),
    () => 0n,
  )
  records = new ProcessRecords({ clock: systemClock, table, executables, out, times, hostName: 'web-1' })
})
afterEach(async () => {
  await executables.stop()
  fake[Symbol.dispose]()
})

const shell: Who = { pid: 50, born: 1_000, parent: { pid: 0, born: 0 } }
const child = (pid: number, born: number, parent: { readonly pid: number; readonly born: number } = shell): Who => ({
  pid,
  born,
  parent,
})
const told = (pid: number): Event[] => emit.events.filter((event) => event.process?.pid === pid)
const story = (pid: number) => told(pid).map(({ event, process }) => `${event.action} ${process?.name}`)
const begin = () => {
  records.fork(fork(shell))
  records.exec(exec(shell, 1_001, '/bin/shell'))
}

describe('records of processes', () => {
  it('tell two processes that had one pid after each other apart, and each its own end', () => {
    begin()
    const [first, second] = [child(60, 2_000), child(60, 3_000)]
    records.fork(fork(first))
    records.exec(exec(first, 2_001, '/bin/one'))
    records.exit(exit(first, 2_500, 1))
    records.fork(fork(second))
    records.exec(exec(second, 3_001, '/bin/two'))
    records.exit(exit(second, 3_500, 2))
    expect(told(60).map(({ event, process }) => [event.action, process?.name, process?.entity_id])).toEqual([
      ['process-started', 'one', entityIdOf(BOOT_ID, 60, 200)],
      ['process-ended', 'one', entityIdOf(BOOT_ID, 60, 200)],
      ['process-started', 'two', entityIdOf(BOOT_ID, 60, 300)],
      ['process-ended', 'two', entityIdOf(BOOT_ID, 60, 300)],
    ])
  })

  it('tell the end of a process whose own was lost when its pid is given away', () => {
    begin()
    records.fork(fork(child(61, 2_000)))
    records.exec(exec(child(61, 2_000), 2_001, '/bin/one'))
    records.fork(fork(child(61, 3_000)))
    records.exec(exec(child(61, 3_000), 3_001, '/bin/two'))
    expect(story(61)).toEqual(['process-started one', 'process-ended one', 'process-started two'])
    expect(told(61)[1]?.event.reason).toContain('its end was not seen')
  })

  it('know the parent that was gone before the record of its child was read', () => {
    begin()
    const dropper = child(62, 2_000)
    records.fork(fork(dropper))
    records.exec(exec(dropper, 2_001, '/tmp/dropper'))
    records.exit(exit(dropper, 2_100))
    const late = child(63, 2_050, dropper)
    records.fork(fork(late))
    records.exec(exec(late, 2_200, '/tmp/payload'))
    expect(told(63)[0]?.process).toMatchObject({
      name: 'payload',
      parent: { pid: 62, name: 'dropper', entity_id: entityIdOf(BOOT_ID, 62, 200) },
      ancestors: [{ pid: 50, name: 'shell' }],
    })
  })

  it('do not take who has the pid of the parent now for the parent', () => {
    begin()
    records.fork(fork(child(64, 5_000)))
    records.exec(exec(child(64, 5_000), 5_001, '/bin/innocent'))
    const orphan = child(65, 2_000, { pid: 64, born: 1_500 })
    records.fork(fork(orphan))
    records.exec(exec(orphan, 5_100, '/tmp/payload'))
    expect(told(65)[0]?.process?.parent).toEqual({ pid: 64 })
  })

  it('tell a process that was there before the first record with the identity of /proc, and its end', () => {
    fake.add({ pid: 70, startTicks: 90, ppid: 0, cmdline: 'daemon\0', exe: '/usr/sbin/daemon' })
    const worker = child(71, 4_000, { pid: 70, born: 905 })
    records.fork(fork(worker))
    records.exec(exec(worker, 4_001, '/bin/worker'))
    expect(told(71)[0]?.process?.parent).toMatchObject({
      entity_id: entityIdOf(BOOT_ID, 70, 90),
      executable: '/usr/sbin/daemon',
    })
    records.exit(exit({ pid: 70, born: 905, parent: { pid: 0, born: 0 } }, 5_000, 9))
    expect(told(70).at(-1)?.process).toMatchObject({ entity_id: entityIdOf(BOOT_ID, 70, 90), exit_code: 9 })
  })

  it('tell an end, and who it was as far as the record says, when the start was lost', () => {
    records.exit(exit(child(80, 2_000), 2_100, 7))
    expect(told(80)).toMatchObject([
      {
        event: { action: 'process-ended', reason: 'its start was not seen' },
        process: { name: 'prog', exit_code: 7, entity_id: entityIdOf(BOOT_ID, 80, 200) },
      },
    ])
    records.exit(exit(child(80, 2_000), 2_100, 7))
    expect(told(80)).toHaveLength(1)
  })

  it('do not tell again what a look at /proc found before the record was read', () => {
    fake.add({ pid: 90, startTicks: 200, ppid: 0, cmdline: '/bin/tool\0', exe: '/bin/tool' })
    const tool: Who = { pid: 90, born: 2_000, parent: { pid: 0, born: 0 } }
    const seen = records.entryOf(actor(tool))
    seen.telling = 'told'
    seen.imageOfMs = 9_000
    records.fork(fork(tool))
    records.exec(exec(tool, 2_001, '/bin/tool'))
    expect(told(90)).toEqual([])
    records.exec(exec(tool, 9_500, '/bin/other'))
    expect(story(90)).toEqual(['exec other'])
  })

  it('stay in bounded memory whatever starts and ends', () => {
    begin()
    for (let n = 0; n < 5_000; n++) {
      const one = child(100 + (n % 300), 10_000 + n * 10)
      records.fork(fork(one))
      records.exit(exit(one, 10_005 + n * 10))
    }
    expect(table.size).toBeLessThan(10)
    expect(emit.events.filter(({ event }) => event.action === 'process-ended')).toHaveLength(5_000)
  })
})
