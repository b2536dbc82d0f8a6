import { accessSync, constants } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { labPlaces } from './places.ts'
import { run } from './program.ts'
import { isRootImageBuilt } from './root-image.ts'

export type LabSupport =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: 'lab_unsupported'; readonly why: string; readonly reasons: readonly string[] }

/** Program → Debian package that has it. */
const PROGRAMS = {
  flock: 'util-linux',
  ip: 'iproute2',
  mount: 'mount',
  nft: 'nftables',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  'systemd-nspawn': 'systemd-container',
  tcpdump: 'tcpdump',
  unshare: 'util-linux',
} as const

// What the kernel must do, tried in namespaces that are gone right after.
const TRIAL = `
set -e
mount --make-rprivate /
ip link add trial0 type bridge
ip link add trial1 type veth peer name trial2
ip link set trial1 master trial0
nft add table inet trial
mkdir "$1/lower" "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" "$1/root"
`

let known: Promise<LabSupport> | undefined

/** Can labs of real hosts run on this machine? Asked once a process; all reasons are given, not just the first. */
export async function labSupport(): Promise<LabSupport> {
  known ??= examine()
  return await known
}

/** Says on standard error that tests were skipped and why, and gives back what `describe.skipIf` takes. */
export function skipWithout(support: LabSupport, tests: number, what: string): boolean {
  if (!support.ok) console.warn(`skipped: ${tests} tests of ${what}, no lab here: ${support.why}`)
  return !support.ok
}

async function examine(): Promise<LabSupport> {
  const reasons: string[] = []
  if (process.platform !== 'linux') reasons.push(`needs Linux, this is ${process.platform}`)
  else if (process.getuid?.() !== 0) reasons.push('needs root (namespaces, mounts, packet capture)')
  const places = labPlaces()
  const needed = { ...PROGRAMS, ...(isRootImageBuilt(places) ? {} : { debootstrap: 'debootstrap' }) }
  for (const [program, packageName] of Object.entries(needed)) {
    if (!isInstalled(program)) reasons.push(`${program} is missing (Debian package ${packageName})`)
  }
  if (!/^[\w/.@+-]+$/.test(places.cache))
    reasons.push(`the cache path ${places.cache} holds characters that overlay options cannot: set FIREBREAK_LAB_CACHE`)
  if (reasons.length === 0) {
    const failed = await trial(places.cache)
    if (failed !== undefined) reasons.push(failed)
  }
  return reasons.length === 0 ? { ok: true } : { ok: false, code: 'lab_unsupported', why: reasons.join('; '), reasons }
}

async function trial(cache: string): Promise<string | undefined> {
  try {
    await mkdir(cache, { recursive: true })
    const directory = await mkdtemp(join(cache, 'trial-'))
    const argv = [
      'unshare',
      '--fork',
      '--kill-child=SIGKILL',
      '--pid',
      '--mount',
      '--net',
      '--mount-proc',
      'sh',
      '-c',
      TRIAL,
      'trial',
      directory,
    ]
    const { code, stderr } = await run({ argv, wrapped: true }, 'trial', { check: false, timeoutMs: 20_000 })
    await rm(directory, { recursive: true, force: true })
    return code === 0 ? undefined : `this kernel or container does not allow what a lab needs: ${stderr.trim()}`
  } catch (thrown) {
    return `the lab could not be tried: ${thrown instanceof Error ? thrown.message : String(thrown)}`
  }
}

function isInstalled(program: string): boolean {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/bin', '/sbin', '/bin']
  return directories.some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
