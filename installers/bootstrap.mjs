#!/usr/bin/env node
// What every script of package.json does first on a machine that has nothing but Node 20 and npm: install the exact
// dependencies of the lockfile (pnpm through npx), then the Debian packages that a task needs, then hand over to Node 26 of the project.
// Plain JavaScript of Node 20: nothing is installed yet when it runs.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PNPM = 'pnpm@12.21.0'
const root = dirname(dirname(fileURLToPath(import.meta.url)))
/** What Node makes of the sources is kept from run to run: they load in two thirds of the time then. */
const COMPILED = join(root, 'node_modules', '.cache', 'compiled')

/** Command on the PATH, or file → Debian package that brings it. */
const REAL_HOSTS = {
  nft: 'nftables',
  ip: 'iproute2',
  ping: 'iputils-ping',
  perl: 'perl-base',
  'dpkg-deb': 'dpkg',
  debootstrap: 'debootstrap',
  'systemd-nspawn': 'systemd-container',
  tcpdump: 'tcpdump',
  'ssh-keygen': 'openssh-client',
  rpmbuild: 'rpm',
  // What compiles the kernel sensor.
  'clang-14': 'clang-14',
  bpftool: 'bpftool',
  gcc: 'gcc',
  '/usr/include/stdio.h': 'libc6-dev',
  '/usr/include/bpf/libbpf.h': 'libbpf-dev',
}

const DEBIAN = {
  start: {},
  check: {},
  test: REAL_HOSTS,
  bench: REAL_HOSTS,
  lab: REAL_HOSTS,
  firebreak: {},
}

const TASKS = {
  start: ['node', 'controller/src/main.ts', 'up', '--with-agent'],
  check: ['node', 'installers/check.ts'],
  test: ['node', 'installers/test.ts'],
  bench: ['node', 'test/bench/main.ts'],
  lab: ['node', 'test/lab/main.ts'],
  firebreak: ['node', 'controller/src/main.ts'],
}

const [task, ...rest] = process.argv.slice(2)
if (!Object.hasOwn(TASKS, task ?? '')) {
  console.error(`usage: bootstrap.mjs ${Object.keys(TASKS).join('|')} [arguments]`)
  process.exit(2)
}
await installDependencies()
await installDebianPackages(DEBIAN[task])
const [command, ...args] = TASKS[task]
await run(command, [...args, ...rest], { exit: true })

async function installDependencies() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'pnpm-lock.yaml')))
    .update(PNPM)
    .digest('hex')
  const stamp = join(root, 'node_modules', '.firebreak-installed')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  console.error('Installing dependencies (once) ...')
  await run('npx', ['--yes', PNPM, 'install', '--frozen-lockfile', '--reporter=append-only'], { quiet: true })
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, lock)
}

async function installDebianPackages(wanted) {
  const missing = Object.entries(wanted).filter(([name]) => !isOnPath(name))
  if (missing.length === 0) return
  const packages = [...new Set(missing.map(([, name]) => name))]
  const isDebian = existsSync('/etc/debian_version') && isOnPath('apt-get')
  if (!isDebian || process.getuid?.() !== 0) {
    console.error(
      `Missing: ${missing.map(([name]) => name).join(', ')}. What needs them is skipped, with its count and reason.`,
    )
    if (isDebian) console.error(`To install them: sudo apt-get install ${packages.join(' ')}`)
    return
  }
  console.error(`Installing Debian packages: ${packages.join(' ')} ...`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  await run('apt-get', ['update', '-qq'], { env, quiet: true })
  await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env, quiet: true })
}

function isOnPath(name) {
  if (name.startsWith('/')) return existsSync(name)
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']
  return folders.some((folder) => folder !== '' && existsSync(join(folder, name)))
}

/**
 * Runs with the project's own Node 26 first on the PATH. `quiet`: output is shown only when it fails. Signals are passed on, and the
 * end of the program is waited for: Ctrl-C is the program's to answer.
 */
async function run(command, args, { exit = false, quiet = false, env = process.env } = {}) {
  const path = [join(root, 'node_modules', '.bin'), env.PATH ?? '', '/usr/sbin', '/sbin'].join(':')
  const stdio = quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit'
  const child = spawn(command, args, { cwd: root, stdio, env: { NODE_COMPILE_CACHE: COMPILED, ...env, PATH: path } })
  const output = []
  child.stdout?.on('data', (chunk) => output.push(chunk))
  child.stderr?.on('data', (chunk) => output.push(chunk))
  // A terminal sends Ctrl-C to the whole foreground group: passing SIGINT on again would be a second one, which programs take as
  // impatience. `kill` reaches this process alone.
  const passOn = (signal) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, passOn)
  const code = await new Promise((resolve) => {
    child.once('error', (error) => {
      console.error(`cannot run ${command}: ${error.message}`)
      resolve(127)
    })
    child.once('close', (status, signal) => resolve(status ?? 128 + (constants.signals[signal] ?? 0)))
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(signal, passOn)
  if (quiet && code !== 0) {
    console.error(`${Buffer.concat(output).toString()}\n${command} ${args.join(' ')} ended with ${code}`)
  }
  if (exit || code !== 0) process.exit(code)
}
