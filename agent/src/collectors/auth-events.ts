/** Logins and what goes with them as events. */
import { isIP } from 'node:net'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { AuthFact } from './auth-messages.ts'
import { present } from './present.ts'
import { UTMP_TYPE, type UtmpRecord } from './utmp.ts'

export type AuthProvider = 'journald' | 'auth-log' | 'wtmp' | 'btmp' | 'utmp'

/** The line that a fact was read from. */
export interface AuthLine {
  readonly atMs: number
  readonly program: string
  readonly pid: number | undefined
  readonly message: string
}

export function authEvent(
  fact: AuthFact,
  line: AuthLine,
  provider: AuthProvider,
  hostName: string,
  nameOf: (uid: string) => string | undefined,
): Event {
  const isSession = fact.action === 'session-opened' || fact.action === 'session-closed'
  const target = account(fact.user, fact.uid)
  const doer = account(fact.byUser ?? (fact.byUid === undefined ? undefined : nameOf(fact.byUid)), fact.byUid)
  return {
    '@timestamp': new Date(line.atMs).toISOString(),
    event: {
      category: [isSession ? 'session' : 'authentication'],
      type: [fact.action === 'session-closed' ? 'end' : 'start'],
      action: fact.action,
      dataset: 'firebreak.authentication',
      provider,
      outcome: fact.outcome,
      ...present({ reason: fact.reason }),
    },
    host: { name: hostName },
    message: line.message,
    ...present({
      user: doer && target ? { ...doer, effective: target } : (doer ?? target),
      source: endpoint(fact.sourceIp, fact.sourcePort),
      process: present({
        pid: line.pid,
        name: line.program,
        command_line: fact.command,
        working_directory: fact.workingDirectory,
        tty: fact.tty,
      }),
    }),
  }
}

/** Undefined for records that are no login: boots, run levels, terminals that wait for somebody. */
export function utmpEvent(record: UtmpRecord, provider: AuthProvider, hostName: string): Event | undefined {
  const isFailure = provider === 'btmp'
  const isEnd = record.type === UTMP_TYPE.deadProcess
  if (!isFailure && !isEnd && (record.type !== UTMP_TYPE.userProcess || record.user === '')) return undefined
  const isExisting = provider === 'utmp'
  return {
    '@timestamp': new Date(record.atMs).toISOString(),
    event: {
      category: [isFailure ? 'authentication' : 'session'],
      type: [isExisting ? 'info' : isEnd ? 'end' : 'start'],
      action: isFailure ? 'login-failed' : isExisting ? 'session-existing' : isEnd ? 'logged-out' : 'logged-in',
      dataset: 'firebreak.authentication',
      provider,
      outcome: isFailure ? 'failure' : 'success',
    },
    host: { name: hostName },
    process: present({
      pid: record.pid > 0 ? record.pid : undefined,
      tty: record.line === '' ? undefined : record.line,
    }),
    ...present({
      user: account(record.user === '' ? undefined : record.user, undefined),
      source: endpoint(record.ip ?? (record.host === '' ? undefined : record.host), undefined),
    }),
  }
}

function account(name: string | undefined, id: string | undefined): { name?: string; id?: string } | undefined {
  return name === undefined && id === undefined ? undefined : present({ name, id })
}

function endpoint(host: string | undefined, port: number | undefined): Event['source'] {
  if (host === undefined) return undefined
  return isIP(host) > 0 && host.length <= 64 ? present({ ip: host, port }) : present({ domain: host, port })
}
