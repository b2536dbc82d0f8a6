import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, open, readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { reasonOf } from '@firebreak/shared/result.ts'
import { createLab } from './lab.ts'
import { hostCgroup, hostEntry } from './machine.ts'
import { nodeEntry } from './node.ts'
import { readRecord } from './ownership.ts'
import type { LabRecord, MemberRecord } from './ownership.ts'
import { isLabId, labPlaces } from './places.ts'
import { isAlive, killIfSame } from './process-table.ts'
import { sweep } from './remains.ts'
import { ensureRootImage } from './root-image.ts'
import { labSupport } from './support.ts'

const USAGE = `Usage: pnpm lab <command>

  build                        build the cached Debian root image
  up [--hosts N] [--name NAME] boot N Debian hosts (default 2) beside the nodes controller, attacker and neighbour
  list                         labs on this machine and their members
  shell MEMBER [--lab ID]      a shell in a host or node
  down [--lab ID]              end the labs that "up" made

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found.`

const DOWN_TIMEOUT_MS = 60_000
const NODES = { controller: 'machine', attacker: 'debian', neighbour: 'debian' } as const
const places = labPlaces()

process.exitCode = await command(process.argv.slice(2)).catch((thrown: unknown) => {
  console.error(`lab: ${reasonOf(thrown)}`)
  return 1
})

async function command(argv: string[]): Promise<number> {
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse(argv)
  } catch (thrown) {
    return usage(reasonOf(thrown))
  }
  const { values, positionals } = parsed
  const [name, member, ...more] = positionals
  const hosts = Number(values.hosts)
  if (values.help === true) {
    console.log(USAGE)
    return 0
  }
  if (!Number.isInteger(hosts) || hosts < 1 || hosts > 50) return usage('--hosts takes a number from 1 to 50')
  if (more.length > 0 || (member !== undefined && name !== 'shell'))
    return usage(`too many words: ${positionals.join(' ')}`)
  switch (name) {
    case 'build':
      return await build()
    case 'up':
      return await up(hosts, values.name)
    case 'hold':
      return await hold(hosts, values.name)
    case 'list':
      return await list()
    case 'shell':
      return member === undefined ? usage('shell needs the name of a host or node') : await shell(member, values.lab)
    case 'down':
      return await down(values.lab)
    default:
      return usage(name === undefined ? 'a command is missing' : `there is no command ${name}`)
  }
}

function parse(argv: string[]) {
  const options = {
    hosts: { type: 'string', default: '2' },
    name: { type: 'string', default: 'up' },
    lab: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  } as const
  return parseArgs({ args: argv, options, allowPositionals: true })
}

function usage(why: string): number {
  console.error(`lab: ${why}\n\n${USAGE}`)
  return 2
}

async function supported(): Promise<boolean> {
  const support = await labSupport()
  if (!support.ok)
    console.error(`lab: cannot run here:\n${support.reasons.map((reason) => `  - ${reason}`).join('\n')}`)
  return support.ok
}

async function build(): Promise<number> {
  if (!(await supported())) return 1
  const image = await ensureRootImage(places, (line) => console.error(line))
  console.log(
    image.builtInMs === undefined
      ? `already built: ${image.path}`
      : `built in ${(image.builtInMs / 1000).toFixed(1)} s: ${image.path}`,
  )
  return 0
}

/** The lab belongs to a process in the background, so that the terminal is free. */
async function up(hosts: number, name: string): Promise<number> {
  if (!(await supported())) return 1
  await ensureRootImage(places, (line) => console.error(line))
  await mkdir(places.labs, { recursive: true })
  const logPath = join(places.cache, 'up.log')
  await using log = await open(logPath, 'w')
  const holder = fork(import.meta.filename, ['hold', '--hosts', String(hosts), '--name', name], {
    detached: true,
    cwd: '/',
    stdio: ['ignore', 'ignore', log.fd, 'ipc'],
  })
  const first = await Promise.race([
    once(holder, 'message').then(([id]) => String(id)),
    once(holder, 'exit').then(() => undefined),
  ])
  if (first === undefined) {
    console.error(`lab: it did not come up:\n${await readFile(logPath, 'utf8')}`)
    return 1
  }
  if (holder.connected) holder.disconnect()
  holder.unref()
  const record = await readRecord(join(places.labs, first))
  show(first, record)
  console.log(`\nA shell: pnpm lab shell web-1    The end: pnpm lab down`)
  return 0
}

async function hold(hosts: number, name: string): Promise<number> {
  let end = (): void => {}
  const asked = new Promise<void>((resolve) => {
    end = resolve
  })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => end())
  await using lab = await createLab({ name, interactive: true })
  for (const [node, programs] of Object.entries(NODES)) await lab.node(node, { programs })
  await Promise.all(Array.from({ length: hosts }, async (_, index) => await lab.host(`web-${index + 1}`)))
  if (process.connected) {
    process.send?.(lab.id)
    process.disconnect?.()
  }
  const alive = setInterval(() => {}, 1 << 30) // nothing else keeps this process
  await asked
  clearInterval(alive)
  return 0
}

async function records(): Promise<LabRecord[]> {
  await sweep(places)
  const ids = existsSync(places.labs) ? (await readdir(places.labs)).filter(isLabId).sort() : []
  const found = await Promise.all(ids.map(async (id) => await readRecord(join(places.labs, id))))
  return found.filter((record) => record !== undefined)
}

async function list(): Promise<number> {
  const labs = await records()
  for (const record of labs) show(record.id, record)
  if (labs.length === 0) console.log('no lab is up')
  return 0
}

function show(id: string, record: LabRecord | undefined): void {
  console.log(
    `${id}  ${record?.interactive === true ? 'by "lab up"' : 'by a program'}, process ${record?.owner.pid ?? '?'}, since ${record?.startedAt ?? '?'}`,
  )
  for (const member of record?.members ?? []) {
    const state = member.leader !== undefined && isAlive(member.leader) ? 'up' : 'off'
    console.log(
      `  ${member.name.padEnd(16)} ${member.kind}  ${state.padEnd(3)}  ${member.address4.padEnd(12)} ${member.address6}`,
    )
  }
}

async function shell(name: string, labId: string | undefined): Promise<number> {
  const labs = (await records()).filter((record) => labId === undefined || record.id === labId)
  const found = labs.flatMap((record) =>
    record.members.filter((member) => member.name === name).map((member) => ({ record, member })),
  )
  const [only] = found
  if (only === undefined) {
    console.error(`lab: no lab has a member ${name}; see pnpm lab list`)
    return 3
  }
  if (found.length > 1)
    return usage(`${name} is in several labs, say --lab: ${found.map(({ record }) => record.id).join(', ')}`)
  if (only.member.leader === undefined || !isAlive(only.member.leader)) {
    console.error(`lab: ${name} is off`)
    return 1
  }
  const [file = '', ...rest] = shellEntry(only.record, only.member, only.member.leader.pid)
  const child = spawn(file, rest, { stdio: 'inherit' })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}

function shellEntry(record: LabRecord, member: MemberRecord, leader: number): readonly string[] {
  const env = { TERM: process.env['TERM'] ?? 'linux' }
  if (member.kind === 'host') return hostEntry(leader, hostCgroup(record.id, member.name), ['bash', '-l'], { env }).argv
  return nodeEntry(leader, ['bash'], { cwd: '/root', env: { ...env, PS1: `${member.name}:\\w# ` } }).argv
}

async function down(labId: string | undefined): Promise<number> {
  const labs = (await records()).filter((record) => record.interactive && (labId === undefined || record.id === labId))
  if (labs.length === 0) {
    console.error(labId === undefined ? 'lab: none is up that "lab up" made' : `lab: "lab up" made no lab ${labId}`)
    return 3
  }
  for (const { id, owner } of labs) {
    killIfSame(owner, 'SIGTERM')
    const deadline = performance.now() + DOWN_TIMEOUT_MS
    while (existsSync(join(places.labs, id))) {
      if (performance.now() > deadline) throw new Error(`${id} is still there`)
      await sleep(50)
    }
    console.log(`${id} is gone`)
  }
  return 0
}
