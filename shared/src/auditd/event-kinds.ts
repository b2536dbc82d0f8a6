/** What an event of the audit system is, in the closed words of ECS: by its system call, else by the types of its records. */
import type { EVENT_CATEGORIES, EVENT_TYPES } from '../events/event.ts'
import type { AuditFacts } from './audit-facts.ts'

type Category = (typeof EVENT_CATEGORIES)[number]
type Type = (typeof EVENT_TYPES)[number]

export interface EventKind {
  readonly category: readonly Category[]
  readonly type: readonly Type[]
  readonly action: string
}

const kind = (category: Category, type: Type, action: string): EventKind => ({
  category: [category],
  type: [type],
  action,
})

const BY_SYSCALL: Readonly<Record<string, EventKind>> = {
  execve: kind('process', 'start', 'exec'),
  execveat: kind('process', 'start', 'exec'),
  fork: kind('process', 'start', 'fork'),
  vfork: kind('process', 'start', 'fork'),
  clone: kind('process', 'start', 'fork'),
  clone3: kind('process', 'start', 'fork'),
  exit: kind('process', 'end', 'process-ended'),
  exit_group: kind('process', 'end', 'process-ended'),
  kill: kind('process', 'change', 'signal-sent'),
  ptrace: kind('process', 'access', 'ptrace'),
  setuid: kind('process', 'change', 'user-changed'),
  setreuid: kind('process', 'change', 'user-changed'),
  setresuid: kind('process', 'change', 'user-changed'),
  memfd_create: kind('process', 'change', 'memfd-created'),
  connect: { category: ['network'], type: ['connection', 'start'], action: 'connect' },
  sendto: { category: ['network'], type: ['connection', 'info'], action: 'sent' },
  accept: { category: ['network'], type: ['connection', 'start'], action: 'accept' },
  accept4: { category: ['network'], type: ['connection', 'start'], action: 'accept' },
  bind: { category: ['network'], type: ['info'], action: 'bind' },
  listen: { category: ['network'], type: ['info'], action: 'listen' },
  init_module: kind('driver', 'start', 'module-loaded'),
  finit_module: kind('driver', 'start', 'module-loaded'),
  delete_module: kind('driver', 'end', 'module-unloaded'),
  bpf: kind('driver', 'start', 'bpf'),
  mount: kind('host', 'change', 'mounted'),
  umount2: kind('host', 'change', 'unmounted'),
  creat: kind('file', 'creation', 'file-created'),
  mkdir: kind('file', 'creation', 'file-created'),
  mkdirat: kind('file', 'creation', 'file-created'),
  symlink: kind('file', 'creation', 'file-linked'),
  symlinkat: kind('file', 'creation', 'file-linked'),
  link: kind('file', 'creation', 'file-linked'),
  linkat: kind('file', 'creation', 'file-linked'),
  unlink: kind('file', 'deletion', 'file-deleted'),
  unlinkat: kind('file', 'deletion', 'file-deleted'),
  rmdir: kind('file', 'deletion', 'file-deleted'),
  rename: kind('file', 'change', 'file-renamed'),
  renameat: kind('file', 'change', 'file-renamed'),
  renameat2: kind('file', 'change', 'file-renamed'),
  truncate: kind('file', 'change', 'file-changed'),
  ftruncate: kind('file', 'change', 'file-changed'),
  chmod: kind('file', 'change', 'file-mode-changed'),
  fchmod: kind('file', 'change', 'file-mode-changed'),
  fchmodat: kind('file', 'change', 'file-mode-changed'),
  chown: kind('file', 'change', 'file-owner-changed'),
  fchown: kind('file', 'change', 'file-owner-changed'),
  lchown: kind('file', 'change', 'file-owner-changed'),
  fchownat: kind('file', 'change', 'file-owner-changed'),
  setxattr: kind('file', 'change', 'file-attributes-changed'),
}

const BY_RECORD: Readonly<Record<string, EventKind>> = {
  USER_AUTH: kind('authentication', 'info', 'authenticated'),
  USER_ACCT: kind('authentication', 'info', 'account-checked'),
  USER_ERR: kind('authentication', 'info', 'authentication-failed'),
  USER_LOGIN: kind('authentication', 'start', 'logged-in'),
  USER_LOGOUT: kind('authentication', 'end', 'logged-out'),
  CRED_ACQ: kind('authentication', 'info', 'credentials-acquired'),
  CRED_REFR: kind('authentication', 'info', 'credentials-refreshed'),
  CRED_DISP: kind('authentication', 'info', 'credentials-disposed'),
  LOGIN: kind('authentication', 'start', 'login-id-changed'),
  ANOM_LOGIN_FAILURES: kind('authentication', 'info', 'login-failures'),
  USER_START: kind('session', 'start', 'session-opened'),
  USER_END: kind('session', 'end', 'session-closed'),
  USER_CMD: kind('process', 'info', 'command-run'),
  ADD_USER: { category: ['iam'], type: ['user', 'creation'], action: 'user-added' },
  DEL_USER: { category: ['iam'], type: ['user', 'deletion'], action: 'user-deleted' },
  ADD_GROUP: { category: ['iam'], type: ['group', 'creation'], action: 'group-added' },
  DEL_GROUP: { category: ['iam'], type: ['group', 'deletion'], action: 'group-deleted' },
  USER_MGMT: { category: ['iam'], type: ['user', 'change'], action: 'user-changed' },
  GRP_MGMT: { category: ['iam'], type: ['group', 'change'], action: 'group-changed' },
  USER_CHAUTHTOK: { category: ['iam'], type: ['user', 'change'], action: 'password-changed' },
  GRP_CHAUTHTOK: { category: ['iam'], type: ['group', 'change'], action: 'password-changed' },
  SERVICE_START: kind('host', 'start', 'service-started'),
  SERVICE_STOP: kind('host', 'end', 'service-stopped'),
  SYSTEM_BOOT: kind('host', 'start', 'booted'),
  SYSTEM_SHUTDOWN: kind('host', 'end', 'shut-down'),
  CONFIG_CHANGE: kind('configuration', 'change', 'audit-configuration-changed'),
  DAEMON_START: kind('configuration', 'start', 'audit-daemon-started'),
  DAEMON_END: kind('configuration', 'end', 'audit-daemon-ended'),
  DAEMON_ABORT: kind('configuration', 'error', 'audit-daemon-aborted'),
  DAEMON_CONFIG: kind('configuration', 'change', 'audit-daemon-configured'),
  KERN_MODULE: kind('driver', 'start', 'module-loaded'),
  BPF: kind('driver', 'start', 'bpf'),
  NETFILTER_CFG: kind('configuration', 'change', 'netfilter-changed'),
  SECCOMP: kind('process', 'end', 'seccomp'),
  ANOM_ABEND: kind('process', 'end', 'crashed'),
  ANOM_PROMISCUOUS: kind('network', 'info', 'promiscuous-mode-changed'),
  TTY: kind('process', 'info', 'typed'),
}

const ACCESS_CONTROL = ['AVC', 'USER_AVC', 'SELINUX_ERR', 'APPARMOR_DENIED'] as const

export function kindOf(facts: AuditFacts): EventKind {
  const refused = ACCESS_CONTROL.find((type) => facts.types.includes(type))
  if (refused !== undefined) {
    const allowed = facts.text('seresult') === 'granted' || facts.text('apparmor')?.includes('ALLOWED') === true
    return kind('intrusion_detection', allowed ? 'allowed' : 'denied', `${refused.toLowerCase()}-reported`)
  }
  for (const type of ['KERN_MODULE', 'BPF', 'NETFILTER_CFG', 'SECCOMP', 'ANOM_PROMISCUOUS', 'CONFIG_CHANGE'] as const)
    if (facts.types.includes(type)) return BY_RECORD[type] ?? generic(facts)
  if (facts.types.includes('EXECVE') && facts.outcome !== 'failure') return BY_SYSCALL['execve'] ?? generic(facts)
  const called = facts.syscall === undefined ? undefined : bySyscall(facts, facts.syscall)
  if (called !== undefined) return called
  for (const type of facts.types) {
    const known = BY_RECORD[type]
    if (known !== undefined) return known
  }
  return generic(facts)
}

function bySyscall(facts: AuditFacts, syscall: string): EventKind | undefined {
  if (/^open(at2?)?$/.test(syscall)) return opened(facts)
  const known = BY_SYSCALL[syscall]
  if (known === undefined) return facts.types.includes('PATH') ? kind('file', 'access', syscall) : undefined
  // What was tried and refused did not happen: no process, no file. A connection under way says so with an error (connect(2)).
  if (facts.outcome !== 'failure' || known.category[0] === 'network') return known
  return { ...known, type: ['info'], action: `${known.action}-failed` }
}

/** Whether an open made the file, the path says; the flags are in a register. */
function opened(facts: AuditFacts): EventKind {
  if (facts.outcome === 'failure') return kind('file', 'info', 'file-open-failed')
  const made = facts.event.records.some(({ fields }) => fields.get('nametype')?.text === 'CREATE')
  return made ? kind('file', 'creation', 'file-created') : kind('file', 'access', 'file-opened')
}

function generic(facts: AuditFacts): EventKind {
  return kind('host', 'info', facts.syscall ?? facts.types[0]?.toLowerCase() ?? 'audited')
}
