/**
 * Builds the kernel sensor: `node agent/sensor/build-sensor.ts` prints the path of the executable. What was built from the same
 * sources with the same compilers before is used again. The result needs nothing of the machine it runs on but its kernel.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ok, refuse, type Result } from '@firebreak/shared/result.ts'

export type SensorBuildRefusal = 'unsupported_system' | 'no_compiler' | 'build_failed'

const here = dirname(fileURLToPath(import.meta.url))
const SOURCES = join(here, 'src')
const DIST = join(here, 'dist')
/** Where the last built one lies, for who runs the agent from its sources. */
export const BUILT_SENSOR: string = join(DIST, 'firebreak-sensor')

/** Machine → what libbpf calls its registers, where Debian keeps the headers of the kernel's interface. */
const ARCHITECTURES: Readonly<Record<string, { readonly target: string; readonly triplet: string }>> = {
  x64: { target: '__TARGET_ARCH_x86', triplet: 'x86_64-linux-gnu' },
  arm64: { target: '__TARGET_ARCH_arm64', triplet: 'aarch64-linux-gnu' },
}
const FORWARDER = [
  'main',
  'tell',
  'take',
  'privileges',
  'ring',
  'output',
  'configure',
  'watched',
  'spelled',
  'programs',
]
const CLANGS = ['clang-14', 'clang-15', 'clang-16', 'clang-17', 'clang-18', 'clang-19', 'clang']

let answered: Result<string, SensorBuildRefusal> | undefined

/**
 * The path of the executable. Changes nothing outside `agent/sensor/dist`. A process that asks again gets the same answer: asking three
 * compilers for their versions takes a third of a second.
 */
export function buildSensor(): Result<string, SensorBuildRefusal> {
  answered ??= build()
  return answered
}

function build(): Result<string, SensorBuildRefusal> {
  const architecture = ARCHITECTURES[process.arch]
  if (process.platform !== 'linux' || !architecture)
    return refuse(
      'unsupported_system',
      `the sensor is for Linux on x64 and arm64, not for ${process.platform} on ${process.arch}`,
    )
  const clang = CLANGS.find(answers)
  const missing = [
    ...(clang ? [] : ['clang-14']),
    ...(answers('bpftool') ? [] : ['bpftool']),
    ...(answers('gcc') ? [] : ['gcc']),
    ...(existsSync('/usr/include/stdio.h') ? [] : ['libc6-dev']),
    ...(existsSync('/usr/include/bpf/libbpf.h') ? [] : ['libbpf-dev']),
  ]
  if (!clang || missing.length > 0)
    return refuse(
      'no_compiler',
      `the kernel sensor cannot be built without ${missing.join(', ')}; on Debian: apt-get install ${missing.join(' ')}`,
    )
  const digest = digestOf(`${process.arch} ${firstLine(clang)} ${firstLine('gcc')} ${firstLine('bpftool')}`)
  const file = join(DIST, digest, 'firebreak-sensor')
  if (!existsSync(file)) {
    const built = compile(file, clang, architecture)
    if (!built.ok) return built
  }
  if (!existsSync(BUILT_SENSOR) || !readFileSync(BUILT_SENSOR).equals(readFileSync(file))) {
    const copy = join(DIST, `${digest}.${process.pid}`)
    copyFileSync(file, copy)
    renameSync(copy, BUILT_SENSOR)
  }
  return ok(file)
}

function compile(
  file: string,
  clang: string,
  { target, triplet }: { readonly target: string; readonly triplet: string },
): Result<void, SensorBuildRefusal> {
  mkdirSync(dirname(file), { recursive: true })
  const work = mkdtempSync(join(DIST, 'work-'))
  try {
    const programs = ['-g', '-O2', '-target', 'bpf', '-mcpu=v3', `-D${target}`, `-I/usr/include/${triplet}`]
    run(clang, [
      ...programs,
      '-Wall',
      '-Werror',
      '-Wno-unused-function',
      '-c',
      join(SOURCES, 'sensor.bpf.c'),
      '-o',
      join(work, 'whole.o'),
    ])
    // Linking an object with itself leaves the debugging sections behind that only a debugger wants, and keeps the types.
    run('bpftool', ['gen', 'object', join(work, 'sensor.o'), join(work, 'whole.o')])
    const skeleton = run('bpftool', ['gen', 'skeleton', join(work, 'sensor.o'), 'name', 'sensor'])
    writeFileSync(join(work, 'sensor.skel.h'), skeleton)
    const options = '-std=gnu11 -Os -Wall -Wextra -Werror -static -s -ffunction-sections -Wl,--gc-sections'.split(' ')
    options.push(
      `-I${work}`,
      `-I${SOURCES}`,
      `-DFB_SENSOR_VERSION="${version()}"`,
      '-o',
      join(work, 'firebreak-sensor'),
    )
    run('gcc', [...options, ...FORWARDER.map((name) => join(SOURCES, `${name}.c`)), '-lbpf', '-lelf', '-lz'])
    renameSync(join(work, 'firebreak-sensor'), file)
    return ok()
  } catch (error) {
    return refuse('build_failed', error instanceof CompileError ? error.message : String(error))
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

class CompileError extends Error {}

function run(command: string, args: readonly string[]): Buffer {
  const done = spawnSync(command, args, { maxBuffer: 64 * 1_024 * 1_024 })
  if (done.status !== 0)
    throw new CompileError(
      `${command} ended with ${done.status ?? done.signal}: ${String(done.stderr).slice(0, 2_000)}`,
    )
  return done.stdout
}

function answers(command: string): boolean {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0
}

function firstLine(command: string): string {
  return String(spawnSync(command, ['--version']).stdout).split('\n')[0] ?? ''
}

function version(): string {
  const { version: own } = JSON.parse(readFileSync(join(here, '..', 'package.json'), 'utf8')) as { version: string }
  return own
}

function digestOf(more: string): string {
  const hash = createHash('sha256')
    .update(`${more} ${version()}`)
    .update(readFileSync(fileURLToPath(import.meta.url)))
  for (const name of readdirSync(SOURCES).sort()) hash.update(name).update(readFileSync(join(SOURCES, name)))
  return hash.digest('hex').slice(0, 16)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const built = buildSensor()
  if (!built.ok) {
    console.error(built.why)
    process.exit(1)
  }
  console.log(built.value)
}
