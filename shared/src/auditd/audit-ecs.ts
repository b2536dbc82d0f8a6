/**
 * An event of the Linux audit system in ECS words. What was found in its records stays beside it under `auditd`, so that rules for the
 * log source `auditd` find the fields that they name. Source: Auditbeat, "Exported fields"; ECS 9 categorization fields.
 */
import type { Event } from '../events/event.ts'
import { RECORD_LIMITS } from '../events/recorded-fields.ts'
import { FIELD_LIMITS } from '../events/field-kinds.ts'
import type { AuditEvent } from './audit-events.ts'
import { AuditFacts } from './audit-facts.ts'
import { decoded, textOf } from './audit-record.ts'
import { ARCH_NAMES } from './audit-tables.ts'
import { argumentsOf } from './execve-arguments.ts'
import { kindOf } from './event-kinds.ts'
import { parseSocketAddress, type SocketAddress } from './socket-address.ts'

export interface AuditContext {
  readonly hostName: string | undefined
  /** Name of an account, where the record has only its number. */
  readonly nameOf?: (uid: string) => string | undefined
}

type ProcessFields = NonNullable<Event['process']>
type UserFields = NonNullable<Event['user']>

const UNSET_UID = '4294967295'

export function ecsOfAudit(audited: AuditEvent, context: AuditContext): Event {
  const facts = new AuditFacts(audited)
  const kind = kindOf(facts)
  const hostName = audited.node ?? context.hostName
  const process = processOf(facts, context, kind.action === 'exec')
  const user = userOf(facts, context)
  const file = kind.category.includes('file') ? fileOf(facts) : undefined
  const event: Event = {
    '@timestamp': new Date(audited.atMs).toISOString(),
    event: {
      category: [...kind.category],
      type: [...kind.type],
      action: kind.action,
      provider: 'auditd',
      outcome: facts.outcome,
    },
    host: {
      ...(hostName === undefined ? {} : { name: hostName.slice(0, FIELD_LIMITS.keyword) }),
      os: { type: 'linux' },
    },
    auditd: auditdOf(facts),
    ...(process === undefined ? {} : { process }),
    ...(user === undefined ? {} : { user }),
    ...(file === undefined ? {} : { file }),
    ...network(facts, kind.action),
    ...accountsOf(facts, kind.category),
  }
  const unit = facts.text('unit')
  if (unit !== undefined) event.service = { name: unit }
  return event
}

function processOf(facts: AuditFacts, context: AuditContext, isExec: boolean): ProcessFields | undefined {
  const executable = facts.text('exe')
  const comm = facts.text('comm')
  const found = argumentsOf(facts.event.records)
  const title = facts.text('proctitle')
  const name = executable === undefined ? comm : executable.slice(executable.lastIndexOf('/') + 1) || comm
  const process: ProcessFields = {}
  set(process, 'pid', numberIn(facts.text('pid') ?? facts.text('opid'), 2 ** 31 - 1))
  set(process, 'name', name)
  set(process, 'executable', executable)
  // The title is cut by the kernel at 128 bytes, and a program may change its own.
  set(process, 'command_line', found?.args.join(' ') ?? title)
  set(process, 'args', found && [...found.args])
  set(process, 'args_count', found?.count)
  set(process, 'working_directory', facts.text('cwd'))
  set(process, 'tty', ttyOf(facts.text('tty') ?? facts.text('terminal')))
  const parent = numberIn(facts.text('ppid'), 2 ** 31 - 1)
  if (parent !== undefined) process.parent = { pid: parent }
  const user = userOf(facts, context)
  if (user !== undefined && isExec) process.user = user
  if (isExec && facts.outcome !== 'failure') process.start = new Date(facts.event.atMs).toISOString()
  return Object.keys(process).length > 0 ? process : undefined
}

function ttyOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  if (text.startsWith('/')) return text
  const terminal = /^(pts)(\d+)$/.exec(text)
  return terminal ? `/dev/pts/${terminal[2] ?? ''}` : `/dev/${text}`
}

function userOf(facts: AuditFacts, context: AuditContext): UserFields | undefined {
  const user: UserFields = {}
  const who = account(facts, context, 'uid')
  Object.assign(user, who)
  const effective = account(facts, context, 'euid')
  if (effective !== undefined && (effective.id !== who?.id || effective.name !== who?.name)) user.effective = effective
  const login = account(facts, context, 'auid')
  if (login !== undefined) user.audit = login
  return Object.keys(user).length > 0 ? user : undefined
}

function account(facts: AuditFacts, context: AuditContext, field: string): { id?: string; name?: string } | undefined {
  const id = facts.text(field)
  if (id === undefined || id === UNSET_UID || id === '-1' || id === 'unset') return undefined
  // `ausearch -i` writes the name in the place of the number.
  if (!/^\d+$/.test(id)) return { name: id }
  const name = facts.nameFor(field) ?? context.nameOf?.(id)
  return name === undefined ? { id } : { id, name }
}

/** The account that a program speaks of: who logs in, who was added. */
function accountsOf(facts: AuditFacts, category: readonly string[]): Pick<Event, 'user' | 'group' | 'source'> {
  const isLogin = category.includes('authentication') || category.includes('session')
  if (!isLogin && !category.includes('iam')) return {}
  const added: Pick<Event, 'user' | 'group' | 'source'> = {}
  const named = facts.text('acct')
  const id = facts.text('id')
  const target = {
    ...(id !== undefined && /^\d+$/.test(id) && id !== UNSET_UID ? { id } : {}),
    ...(named === undefined ? {} : { name: named }),
  }
  if (Object.keys(target).length > 0) {
    const doer = userOf(facts, { hostName: undefined })
    added.user = isLogin ? { ...target, ...(doer === undefined ? {} : { effective: target }) } : { ...doer, target }
    if (isLogin && doer?.audit !== undefined) added.user.audit = doer.audit
  }
  const group = facts.text('grp')
  if (group !== undefined) added.group = { name: group }
  const address = facts.text('addr')
  if (address !== undefined && /^[0-9A-Fa-f.:]{2,45}$/.test(address)) added.source = { ip: address }
  return added
}

function network(facts: AuditFacts, action: string): Pick<Event, 'source' | 'destination' | 'network'> {
  const address = addressIn(facts)
  if (address === undefined || (address.family !== 'ipv4' && address.family !== 'ipv6')) return {}
  const side = { ip: address.ip, port: address.port }
  const type = address.family
  if (action === 'accept') return { source: side, network: { type, direction: 'ingress' } }
  if (action === 'bind') return { source: side, network: { type } }
  return { destination: side, network: { type, direction: 'egress' } }
}

function addressIn(facts: AuditFacts): SocketAddress | undefined {
  const hex = facts.text('saddr')
  const [ip, port] = [facts.text('laddr'), numberIn(facts.text('lport')?.replace(/ }$/, ''), 65_535)]
  // `ausearch -i` has taken it apart.
  if (ip !== undefined && port !== undefined && /^[0-9A-Fa-f.:]{2,45}$/.test(ip))
    return { family: ip.includes(':') ? 'ipv6' : 'ipv4', ip, port }
  return hex === undefined ? undefined : parseSocketAddress(hex)
}

const FILE_TYPES: Readonly<Record<string, 'file' | 'dir' | 'symlink' | 'other'>> = {
  '04': 'dir',
  '10': 'file',
  '12': 'symlink',
}

/** The path that was changed, not the folder around it; for a rename also the one before. */
function fileOf(facts: AuditFacts): Event['file'] | undefined {
  const paths = facts.event.records.filter(({ type }) => type === 'PATH')
  const of = (...kinds: string[]) => paths.find((path) => kinds.includes(textOf(path, 'nametype') ?? ''))
  const created = of('CREATE')
  const deleted = of('DELETE')
  const subject = created ?? deleted ?? of('NORMAL') ?? paths.at(-1)
  const path = subject && absolute(facts, textOf(subject, 'name'))
  if (subject === undefined || path === undefined) return undefined
  const slash = path.lastIndexOf('/')
  const name = path.slice(slash + 1)
  const dot = name.lastIndexOf('.')
  const mode = textOf(subject, 'mode')
  const file: NonNullable<Event['file']> = { path }
  set(file, 'name', name === '' ? undefined : name)
  set(file, 'directory', slash > 0 ? path.slice(0, slash) : '/')
  set(file, 'extension', dot > 0 ? name.slice(dot + 1) : undefined)
  set(file, 'inode', textOf(subject, 'inode'))
  set(file, 'uid', textOf(subject, 'ouid'))
  set(file, 'gid', textOf(subject, 'ogid'))
  if (mode !== undefined && /^0?[0-7]{5,7}$/.test(mode)) {
    file.mode = mode.slice(-4)
    file.type = FILE_TYPES[mode.slice(-6, -4)] ?? 'other'
  }
  const before = created && deleted ? absolute(facts, textOf(deleted, 'name')) : undefined
  if (before !== undefined) file.previous = { path: before }
  return file
}

function absolute(facts: AuditFacts, name: string | undefined): string | undefined {
  if (name === undefined || name.startsWith('/')) return name
  const cwd = facts.text('cwd')
  return cwd === undefined ? name : `${cwd === '/' ? '' : cwd}/${name.replace(/^\.\//, '')}`
}

/** Everything that the records say, by name. The registers of an `execve` are left out where its arguments are there. */
function auditdOf(facts: AuditFacts): NonNullable<Event['auditd']> {
  const data = new Map<string, string | string[]>()
  const hasArguments = facts.types.includes('EXECVE')
  for (const record of facts.event.records) {
    for (const [name, value] of record.fields) {
      if (hasArguments && record.type === 'SYSCALL' && /^a[0-3]$/.test(name)) continue
      const text = decoded(record, name, value)
      if (text === undefined) continue
      const known = data.get(name)
      if (known === undefined) {
        if (data.size < RECORD_LIMITS.fields) data.set(name, text)
      } else if (Array.isArray(known)) {
        if (known.length < FIELD_LIMITS.list) known.push(text)
      } else if (known !== text) data.set(name, [known, text])
    }
  }
  if (facts.syscall !== undefined) data.set('syscall', facts.syscall)
  const arch = facts.text('arch')
  if (arch !== undefined) data.set('arch', ARCH_NAMES.get(arch.toLowerCase()) ?? arch)
  const session = facts.text('ses')
  const auditd: NonNullable<Event['auditd']> = {
    sequence: facts.event.serial,
    message_type: facts.types.slice(0, 64),
    data: Object.fromEntries(data),
  }
  if (session !== undefined && session !== UNSET_UID && session !== 'unset') auditd.session = session
  if (facts.outcome !== 'unknown') auditd.result = facts.outcome === 'success' ? 'success' : 'fail'
  return auditd
}

function numberIn(text: string | undefined, most: number): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined
  const number = Number(text)
  return number <= most ? number : undefined
}

function set<T extends object, K extends keyof T>(object: T, name: K, value: T[K] | undefined): void {
  if (value !== undefined) object[name] = value
}
