/** What is mounted where, as the first process of the host sees it: the agent's own unit sees another picture. Source: proc_pid_mountinfo(5). */
import { join } from 'node:path'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { readLines } from './bounded-file.ts'
import { Findings, type InventorySource, type Item } from './source.ts'

const MAX_BYTES = 16 * MiB
/** They come and go with every container, session and unit, and are told by those. */
const PASSING =
  /^\/(?:run\/(?:user|credentials|docker|containerd|netns|systemd\/(?:nspawn|unit-root|incoming))|var\/lib\/(?:docker|containers|containerd|kubelet\/pods))\//

export function mountsSource(procRoot: string, limit: number): InventorySource {
  let mounts: readonly Item[] = []
  let why: string | undefined
  return {
    name: 'mounts',
    kind: 'mounts',
    watch: [],
    fast: true,
    async version() {
      const first = await readLines(join(procRoot, '1/mountinfo'), MAX_BYTES)
      const read = first.ok ? first : await readLines(join(procRoot, 'self/mountinfo'), MAX_BYTES)
      mounts = read.ok ? read.value.flatMap((line) => parseMount(line) ?? []) : []
      why = read.ok || read.code === 'absent' ? undefined : read.why
      return JSON.stringify(mounts.map(({ key, facts }) => [key, facts]))
    },
    async read() {
      const found = new Findings(limit)
      if (why !== undefined) found.trouble(why)
      for (const mount of mounts) found.add(mount)
      return found.reading()
    },
  }
}

/** `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`, space and other special letters as `\040`. */
export function parseMount(line: string): Item | undefined {
  const [left = '', right = ''] = line.split(' - ', 2)
  const [, , , from, target, options] = left.split(' ').map(unescaped)
  const [type, source, superOptions = ''] = right.split(' ').map(unescaped)
  if (from === undefined || target === undefined || options === undefined || !type || source === undefined)
    return undefined
  if (PASSING.test(target)) return undefined
  return {
    key: `${target}|${type}`.slice(0, 500),
    label: `${target} ${type} from ${source}`.slice(0, 512),
    facts: {
      target: target.slice(0, 1_024),
      type: type.slice(0, 64),
      source: source.slice(0, 1_024),
      from: from.slice(0, 1_024),
      // Those of the mount; of the file system's own only whether it can be written: the rest may hold secrets.
      options: options.split(',').slice(0, 32),
      read_only: options.split(',').includes('ro') || superOptions.split(',').includes('ro'),
    },
  }
}

function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_all, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}
