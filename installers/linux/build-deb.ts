/** The agent as a Debian package (deb(5), Debian Policy 4.6): `node installers/linux/build-deb.ts` prints the path of the file. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Config } from '@firebreak/agent/config.ts'
import { KernelConfig } from '@firebreak/agent/collectors/collectors-config.ts'
import { CeilingFile } from '@firebreak/agent/orders/ceiling.ts'
import { buildSensor } from '@firebreak/agent/sensor/build-sensor.ts'
import type { Static } from 'typebox'
import { Value } from 'typebox/value'
import { agentVersion, buildAgentBinary, DIST } from './build-binary.ts'
import { sampleConfig } from './sample-config.ts'

const here = dirname(fileURLToPath(import.meta.url))
/** Where the agent looks for it. */
const SENSOR_PATH = (Value.Default(KernelConfig, {}) as Static<typeof KernelConfig>).sensor
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }

export interface PackageOptions {
  /** Version to write into the package; the agent's own when left out. Lets a test upgrade. */
  readonly version?: string
  /** Whether a package without the kernel sensor is better than none, where it cannot be compiled; such an agent polls, and says so. */
  readonly sensor?: 'required' | 'if_possible'
}

/** Builds `firebreak-agent_<version>_<architecture>.deb`, or returns the one built from the same files before. */
export async function buildAgentPackage(options: PackageOptions = {}): Promise<string> {
  const binary = await buildAgentBinary()
  const sensor = buildSensor()
  if (!sensor.ok && options.sensor === 'required') throw new Error(sensor.why)
  if (!sensor.ok) console.warn(`the package is built without the kernel sensor: ${sensor.why}`)
  const version = options.version ?? agentVersion()
  const architecture = ARCHITECTURES[process.arch]
  if (architecture === undefined) throw new Error(`no package for ${process.arch}`)
  const digest = digestOfFolder(here, `${basename(binary)} ${version} ${sensor.ok ? sensor.value : 'without sensor'}`)
  const file = join(DIST, digest, `firebreak-agent_${version}_${architecture}.deb`)
  if (existsSync(file)) return file
  mkdirSync(dirname(file), { recursive: true })
  const work = mkdtempSync(join(DIST, 'deb-'))
  try {
    const tree = join(work, 'tree')
    layOut(tree, binary, sensor.ok ? sensor.value : undefined)
    writeControl(tree, version, architecture)
    execFileSync('dpkg-deb', ['--root-owner-group', '-Zzstd', '-z3', '--build', tree, join(work, 'agent.deb')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    renameSync(join(work, 'agent.deb'), file)
    return file
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

function layOut(tree: string, binary: string, sensor: string | undefined): void {
  const folder = (path: string) => {
    mkdirSync(join(tree, path), { recursive: true, mode: 0o755 })
    return join(tree, path)
  }
  copyFileSync(binary, join(folder('usr/lib/firebreak-agent'), 'firebreak-agent'))
  chmodSync(join(tree, 'usr/lib/firebreak-agent/firebreak-agent'), 0o755)
  if (sensor !== undefined) {
    copyFileSync(sensor, join(tree, SENSOR_PATH))
    chmodSync(join(tree, SENSOR_PATH), 0o755)
  }
  symlinkSync('../lib/firebreak-agent/firebreak-agent', join(folder('usr/bin'), 'firebreak-agent'))
  cpSync(join(here, 'systemd'), folder('lib/systemd/system'), { recursive: true })
  const etc = folder('etc/firebreak')
  writeFileSync(
    join(etc, 'agent.yaml'),
    sampleConfig(Config, [
      'Firebreak agent. Check with `firebreak-agent check-config`; what is commented out is the default.',
    ]),
  )
  writeFileSync(
    join(etc, 'ceiling.yaml'),
    sampleConfig(CeilingFile, [
      'What any controller may do on this host at most. Only root of this host can change it; no command can.',
      'A file that cannot be read allows nothing.',
    ]),
  )
  chmodSync(join(tree, 'etc/firebreak'), 0o750)
  for (const name of readdirSync(join(tree, 'etc/firebreak'))) chmodSync(join(tree, 'etc/firebreak', name), 0o640)
  copyFileSync(join(here, '..', '..', 'LICENSE'), join(folder('usr/share/doc/firebreak-agent'), 'copyright'))
}

function writeControl(tree: string, version: string, architecture: string): void {
  const control = join(tree, 'DEBIAN')
  mkdirSync(control, { mode: 0o755 })
  const size = Number(execFileSync('du', ['-sk', '--apparent-size', tree], { encoding: 'utf8' }).split('\t')[0])
  writeFileSync(
    join(control, 'control'),
    `${[
      'Package: firebreak-agent',
      `Version: ${version}`,
      `Architecture: ${architecture}`,
      'Maintainer: Firebreak developers <security@firebreak.invalid>',
      'Section: admin',
      'Priority: optional',
      `Installed-Size: ${size}`,
      'Depends: libc6, libatomic1, libstdc++6, nftables, iproute2',
      'Recommends: iputils-ping',
      'Description: automated incident response, agent',
      ' Sends process, file, network and login telemetry to a Firebreak controller and',
      ' carries out its signed commands: isolate the host, release it, kill a process.',
      ' What it may do is capped by /etc/firebreak/ceiling.yaml of this host.',
    ].join('\n')}\n`,
  )
  const conffiles = readdirSync(join(tree, 'etc/firebreak')).map((name) => `/etc/firebreak/${name}\n`)
  writeFileSync(join(control, 'conffiles'), conffiles.join(''))
  for (const script of ['postinst', 'prerm', 'postrm']) {
    copyFileSync(join(here, 'debian', script), join(control, script))
    chmodSync(join(control, script), 0o755)
  }
}

function digestOfFolder(folder: string, more: string): string {
  const hash = createHash('sha256').update(more)
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }).sort((a, b) =>
    a.parentPath + a.name < b.parentPath + b.name ? -1 : 1,
  ))
    if (entry.isFile()) hash.update(entry.name).update(readFileSync(join(entry.parentPath, entry.name)))
  return hash.digest('hex').slice(0, 16)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(await buildAgentPackage({ sensor: 'required' }))
