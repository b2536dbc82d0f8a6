import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface FakeProcess {
  readonly pid: number
  readonly ppid?: number
  readonly comm?: string | Buffer
  readonly state?: string
  readonly startTicks?: number
  readonly startStack?: number
  readonly flags?: number
  readonly exitStatus?: number
  readonly cmdline?: Buffer | string
  readonly exe?: string
  readonly uid?: number
  readonly effectiveUid?: number
}

export const BOOT_ID = '6f9619ff-8b86-4d01-b42d-00cf4fc964ff'

/** A folder that looks like /proc, and one that looks like /, for what cannot be had of the real ones at will. */
export class FakeProcfs implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'procfs-'))
  readonly procRoot = join(this.folder, 'proc')
  readonly root = join(this.folder, 'root')

  constructor() {
    mkdirSync(join(this.procRoot, 'sys/kernel/random'), { recursive: true })
    mkdirSync(join(this.procRoot, 'net'))
    mkdirSync(join(this.root, 'etc'), { recursive: true })
    writeFileSync(join(this.procRoot, 'sys/kernel/random/boot_id'), `${BOOT_ID}\n`)
    writeFileSync(join(this.procRoot, 'uptime'), '1000.00 2000.00\n')
    writeFileSync(
      join(this.root, 'etc/passwd'),
      'root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\n',
    )
  }

  /** Appears at once and whole, as a process does. */
  add(process: FakeProcess): void {
    const { pid, comm = 'prog', cmdline = 'prog\0', exe = '/usr/bin/prog', uid = 0, effectiveUid = uid } = process
    const making = join(this.procRoot, `making-${pid}`)
    mkdirSync(making)
    writeFileSync(join(making, 'stat'), statLine(process, comm))
    writeFileSync(join(making, 'cmdline'), cmdline)
    writeFileSync(
      join(making, 'status'),
      `Name:\tprog\nUid:\t${uid}\t${effectiveUid}\t${effectiveUid}\t${effectiveUid}\n`,
    )
    if (exe !== '') symlinkSync(exe, join(making, 'exe'))
    symlinkSync('/work/dir', join(making, 'cwd'))
    this.remove(pid)
    renameSync(making, join(this.procRoot, String(pid)))
  }

  /** Listed, and nothing of it can be read: it ended in between. */
  addVanished(pid: number): void {
    mkdirSync(join(this.procRoot, String(pid)))
  }

  setStat(process: FakeProcess): void {
    const path = join(this.procRoot, String(process.pid), 'stat')
    writeFileSync(`${path}.new`, statLine(process, process.comm ?? 'prog'))
    renameSync(`${path}.new`, path)
  }

  remove(pid: number): void {
    const gone = join(this.folder, `gone-${pid}-${process.hrtime.bigint()}`)
    try {
      renameSync(join(this.procRoot, String(pid)), gone)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }

  setTable(table: string, lines: readonly string[]): void {
    const path = join(this.procRoot, 'net', table)
    const header = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode'
    writeFileSync(`${path}.new`, `${[header, ...lines].join('\n')}\n`)
    renameSync(`${path}.new`, path)
  }

  write(path: string, content: string | Buffer): void {
    const whole = join(this.root, path)
    mkdirSync(join(whole, '..'), { recursive: true })
    writeFileSync(`${whole}.new`, content)
    renameSync(`${whole}.new`, whole)
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** proc_pid_stat(5), 52 fields. */
function statLine(process: FakeProcess, comm: string | Buffer): Buffer {
  const { pid, ppid = 1, state = 'S', startTicks = 50_000 + pid, startStack = 140_000_000_000_000 + pid } = process
  const after = Array.from({ length: 50 }, () => '0')
  after[0] = state
  after[1] = String(ppid)
  after[6] = String(process.flags ?? 0x400000)
  after[19] = String(startTicks)
  after[25] = String(startStack)
  after[49] = String(process.exitStatus ?? 0)
  return Buffer.concat([Buffer.from(`${pid} (`), Buffer.from(comm), Buffer.from(`) ${after.join(' ')}\n`)])
}
