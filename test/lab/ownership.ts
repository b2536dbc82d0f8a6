import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ProcessIdentity } from './process-table.ts'

/** A member as somebody outside of the owning process needs it: to enter it, or to list it. */
export interface MemberRecord {
  readonly name: string
  readonly kind: 'host' | 'node'
  readonly address4: string
  readonly address6: string
  readonly port: string
  /** The process to enter (nsenter -t): a host's PID 1, a node's holder. Absent while a host is off. */
  readonly leader?: ProcessIdentity
}

/** What is written beside a lab's files, so that its end can be noticed and its members be found. */
export interface LabRecord {
  readonly id: string
  readonly startedAt: string
  /** Made by `pnpm lab up`: `pnpm lab down` may end its owner. */
  readonly interactive: boolean
  readonly owner: ProcessIdentity
  readonly warden?: ProcessIdentity
  /** PID 1 of the lab's PID namespace; everything in the lab dies with it. */
  readonly init?: ProcessIdentity
  readonly members: readonly MemberRecord[]
}

export async function writeRecord(directory: string, record: LabRecord): Promise<void> {
  await mkdir(directory, { recursive: true })
  const path = join(directory, 'lab.json')
  await writeFile(`${path}.new`, `${JSON.stringify(record, null, 2)}\n`)
  await rename(`${path}.new`, path)
}

export async function readRecord(directory: string): Promise<LabRecord | undefined> {
  try {
    return JSON.parse(await readFile(join(directory, 'lab.json'), 'utf8')) as LabRecord
  } catch {
    return undefined // just being made, or cut short by a crash: the caller decides by age
  }
}
