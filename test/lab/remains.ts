import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { readdir, rm, rmdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '@firebreak/shared/result.ts'
import { readRecord } from './ownership.ts'
import { isLabId } from './places.ts'
import type { Places } from './places.ts'
import { isAlive, killIfSame } from './process-table.ts'

const CGROUP_ROOT = '/sys/fs/cgroup'
const YOUNG_MS = 60_000

/** Every place in which a cgroup of this lab can be: the unified hierarchy itself, or each mounted hierarchy of a hybrid machine. */
export function cgroupsOf(id: string): string[] {
  const hierarchies = existsSync(join(CGROUP_ROOT, 'cgroup.procs'))
    ? [CGROUP_ROOT]
    : readdirSync(CGROUP_ROOT).map((name) => join(CGROUP_ROOT, name))
  return hierarchies.map((root) => join(root, id)).filter((path) => existsSync(path))
}

/** Removes what outlives the kernel's own clean-up: the lab's directory and its empty cgroups. Mounts, network namespaces, links and
 * processes are gone with the lab's PID 1 (they exist only in its namespaces). */
export async function removeRemains(directory: string): Promise<void> {
  const id = basename(directory)
  if (!isLabId(id)) throw new Fault('lab_bad_request', `${id} is not the name of a lab: left alone`)
  for (const cgroup of cgroupsOf(id)) await removeCgroup(cgroup)
  try {
    await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  } catch {
    // A test may have made files immutable in a host.
    spawnSync('chattr', ['-R', '-i', '-a', '--', directory], { stdio: 'ignore' })
    await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
}

async function removeCgroup(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeCgroup(join(path, entry.name))
  }
  for (let tries = 0; ; tries++) {
    try {
      await rmdir(path)
      return
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException
      if (code === 'ENOENT') return
      // Its last process has been killed but is not reaped yet.
      if (code !== 'EBUSY' || tries >= 50) throw cause
      await sleep(100)
    }
  }
}

/** Removes labs whose owner and warden are both gone (power cut, or both killed at once). Gives back their ids. */
export async function sweep(places: Places): Promise<string[]> {
  const removed: string[] = []
  if (!existsSync(places.labs)) return removed
  for (const id of await readdir(places.labs)) {
    if (!isLabId(id)) continue
    const directory = join(places.labs, id)
    const record = await readRecord(directory)
    if (record === undefined && Date.now() - (await stat(directory)).mtimeMs < YOUNG_MS) continue
    if (record !== undefined && (isAlive(record.owner) || (record.warden !== undefined && isAlive(record.warden))))
      continue
    if (record?.init !== undefined && killIfSame(record.init)) await sleep(200)
    await removeRemains(directory)
    removed.push(id)
  }
  return removed
}
