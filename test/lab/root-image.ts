import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault } from '@firebreak/shared/result.ts'
import { aptMirrorOf } from './apt-mirror.ts'
import { lockFile } from './file-lock.ts'
import type { Places } from './places.ts'
import { imageDirectory } from './places.ts'
import { run } from './program.ts'

const RELEASE = 'bookworm'
const BUILD_TIMEOUT_MS = 15 * 60_000
const UNUSED_MS = 14 * 24 * 3_600_000

/** Over debootstrap's minbase. What the agent's package depends on must be here: hosts in the lab cannot reach an archive. */
const PACKAGES = [
  'ca-certificates', 'curl', 'dbus', 'e2fsprogs', 'iproute2', 'iputils-ping', 'libatomic1', 'netcat-openbsd', 'nftables', 'openssh-client',
  'openssh-server', 'procps', 'python3-minimal', 'sudo', 'systemd', 'systemd-sysv',
] // biome-ignore format: a list of names

/** Units that a test host does better without: they would fetch, trim or publish what belongs to the machine underneath. */
const MASKED_UNITS = [
  'apt-daily.timer', 'apt-daily-upgrade.timer', 'console-getty.service', 'dpkg-db-backup.timer', 'e2scrub_all.timer', 'e2scrub_reap.service',
  'fstrim.timer', 'sys-kernel-debug.mount', 'systemd-pstore.service',
] // biome-ignore format: a list of names

/** Emptied or written after debootstrap, which copies the building machine's name and resolver into the image. */
const FILES: Readonly<Record<string, string>> = {
  'etc/hostname': 'lab\n',
  'etc/hosts': '127.0.0.1 localhost\n::1 localhost\n',
  'etc/machine-id': '',
  'etc/resolv.conf': '',
  'etc/systemd/journald.conf.d/10-lab.conf': '[Journal]\nStorage=persistent\nSystemMaxUse=64M\n',
}

const RECIPE = { version: 1, release: RELEASE, packages: PACKAGES, masked: MASKED_UNITS, files: FILES }

/** Changes with everything that decides what is in the image. */
export const RECIPE_HASH = createHash('sha256').update(JSON.stringify(RECIPE)).digest('hex').slice(0, 12)

export interface RootImage {
  readonly path: string
  /** Time the build took; nothing when the image was there already. */
  readonly builtInMs?: number
}

export function isRootImageBuilt(places: Places): boolean {
  return existsSync(imageDirectory(places, RECIPE_HASH))
}

/** The Debian root that all hosts share read-only, built when it is missing. One process builds, the others wait for it. */
export async function ensureRootImage(places: Places, progress: (line: string) => void = () => {}): Promise<RootImage> {
  const path = imageDirectory(places, RECIPE_HASH)
  await mkdir(places.cache, { recursive: true })
  if (!existsSync(path)) {
    await using lock = await lockFile(join(places.cache, 'build.lock'), BUILD_TIMEOUT_MS)
    if (!existsSync(path)) {
      lock.assertHeld()
      const startedAt = performance.now()
      await removeOldImages(places)
      await build(path, join(places.cache, 'debs'), progress)
      return { path, builtInMs: Math.round(performance.now() - startedAt) }
    }
  }
  const now = new Date()
  await utimes(path, now, now) // says when it was last used
  return { path }
}

async function build(path: string, debs: string, progress: (line: string) => void): Promise<void> {
  const building = `${path}.building`
  await rm(building, { recursive: true, force: true })
  await mkdir(debs, { recursive: true })
  const mirror = aptMirrorOf(RELEASE)
  progress(`building the Debian ${RELEASE} root image, once (${PACKAGES.length} packages over minbase)`)
  const debootstrap = [
    'debootstrap',
    '--variant=minbase',
    `--cache-dir=${debs}`,
    `--include=${PACKAGES.join(',')}`,
    RELEASE,
    building,
    ...(mirror === undefined ? [] : [mirror]),
  ]
  // In namespaces of its own: what debootstrap mounts and starts ends with it, also when this process is killed.
  const contained = [
    'setpriv',
    '--pdeathsig',
    'KILL',
    'unshare',
    '--fork',
    '--kill-child=SIGKILL',
    '--pid',
    '--mount',
    '--mount-proc',
  ]
  try {
    await run({ argv: [...contained, ...debootstrap], wrapped: true }, debootstrap.join(' '), {
      timeoutMs: BUILD_TIMEOUT_MS,
    })
  } catch (cause) {
    throw new Fault(
      'lab_image_failed',
      `cannot build the root image: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    )
  }
  for (const [name, content] of Object.entries(FILES)) {
    await mkdir(join(building, name, '..'), { recursive: true })
    await writeFile(join(building, name), content)
    await chmod(join(building, name), 0o644)
  }
  const systemctl = async (...argv: string[]): Promise<void> => {
    await run(
      { argv: [...contained, 'chroot', building, 'systemctl', ...argv], wrapped: true },
      `systemctl ${argv.join(' ')}`,
    )
  }
  await systemctl('enable', 'systemd-networkd.service')
  await systemctl('mask', ...MASKED_UNITS)
  await systemctl('disable', 'ssh.service') // installed for tests that want it; a fresh host listens nowhere
  await systemctl('set-default', 'multi-user.target')
  await rm(join(building, 'var/cache/apt'), { recursive: true, force: true })
  await mkdir(join(building, 'var/cache/apt/archives/partial'), { recursive: true })
  await rename(building, path)
}

/** Images of other recipes that no lab has used for two weeks, and half-built ones (the lock is held: nobody is building them). */
async function removeOldImages(places: Places): Promise<void> {
  for (const name of await readdir(places.cache)) {
    if (!/^root-[0-9a-f]{12}(\.building)?$/.test(name)) continue
    const path = join(places.cache, name)
    const unused = Date.now() - (await stat(path)).mtimeMs > UNUSED_MS
    if (unused || name.endsWith('.building')) await rm(path, { recursive: true, force: true })
  }
}
