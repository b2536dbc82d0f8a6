/** What speaks for and against one alert, each part with its reason in words. One function a part; the table is their order on the page. */
import type { Event } from '@firebreak/shared/events/event.ts'
import type { Tables } from '../store/state/tables.ts'
import type { ConfidencePart, Findings, Signal } from './index.ts'
import { prevalenceKey, questionOf } from './prevalence.ts'
import { WEIGHTS } from './weights.ts'

export interface AlertEvidence {
  readonly signal: Signal
  readonly findings: Findings
  /** `null`: the host is not in the fleet's list. */
  readonly criticality: Tables['hosts']['criticality'] | null
}

type Part = (evidence: AlertEvidence) => ConfidencePart | undefined

const PARTS: readonly Part[] = [level, status, prevalence, criticality, session]

export function alertParts(evidence: AlertEvidence): ConfidencePart[] {
  return PARTS.flatMap((part) => part(evidence) ?? [])
}

function level({ signal }: AlertEvidence): ConfidencePart {
  return {
    name: 'rule level',
    logOdds: WEIGHTS.level[signal.level],
    why: `the rule "${signal.ruleTitle}" is of level ${signal.level}`,
  }
}

function status({ signal }: AlertEvidence): ConfidencePart {
  const status = signal.ruleStatus ?? 'none'
  const why = status === 'none' ? 'its author does not say how proved the rule is' : `the rule has the status ${status}`
  return { name: 'rule status', logOdds: WEIGHTS.status[status], why }
}

function prevalence({ signal, findings }: AlertEvidence): ConfidencePart | undefined {
  const question = questionOf(signal.event)
  if (question === undefined) return undefined
  const found = findings.prevalence.get(prevalenceKey(question))
  const name = 'prevalence'
  if (found === undefined) return { name, logOdds: 0, why: `how common the ${question.field} is was not looked up` }
  if (!found.known) return { name, logOdds: 0, why: `how common the ${question.field} is is not known: ${found.why}` }
  const { fleet } = findings
  const bounds = WEIGHTS.prevalenceBounds
  if (fleet < bounds.fleet) {
    const size = fleet === 1 ? '1 host is' : `${fleet} hosts are`
    return { name, logOdds: 0, why: `${size} too few to tell what is common` }
  }
  const seen = `this ${question.field} was seen before on ${found.hosts} of ${fleet} hosts`
  if (found.hosts === 0) {
    return {
      name,
      logOdds: WEIGHTS.prevalence.never,
      why: `this ${question.field} was never seen before on ${fleet} hosts`,
    }
  }
  if (found.hosts >= bounds.hosts && found.hosts / fleet >= bounds.share) {
    return { name, logOdds: WEIGHTS.prevalence.common, why: seen }
  }
  return { name, logOdds: found.hosts >= bounds.hosts ? WEIGHTS.prevalence.some : 0, why: seen }
}

function criticality(evidence: AlertEvidence): ConfidencePart | undefined {
  const weight = evidence.criticality === null ? 0 : WEIGHTS.criticality[evidence.criticality]
  if (weight === 0) return undefined
  return { name: 'asset criticality', logOdds: weight, why: `the host's criticality is ${evidence.criticality}` }
}

/** Programs that talk to strangers and have no business starting shells and tools. */
const DAEMONS =
  /^(nginx|apache2?|httpd|lighttpd|caddy|php-fpm[\d.]*|php-cgi|tomcat\d*|mysqld|mariadbd|postgres|redis-server|memcached|named|vsftpd|proftpd|exim4?|postfix|smbd|cupsd|w3wp\.exe|tomcat\d*\.exe|sqlservr\.exe)$/
/** What runs services and also the tools of developers: a service has no terminal and is started by the service manager. */
const RUNTIMES = /^(java|node)$/
const MANAGERS = /^(systemd|init|containerd-shim(-runc-v\d)?|tini|dumb-init|pm2)$/

/** The nearest network daemon above, nearest first in `above`. */
function daemonAbove(above: readonly (string | undefined)[], tty: string): string | undefined {
  return above.find(
    (name, at) =>
      name !== undefined &&
      (DAEMONS.test(name) || (RUNTIMES.test(name) && tty === '' && isManaged(above.slice(at + 1)))),
  )
}

/** Nothing but itself (workers of a cluster) between it and what starts services. */
function isManaged(above: readonly (string | undefined)[]): boolean {
  const starter = above.find((name) => name === undefined || !RUNTIMES.test(name))
  return starter === undefined || MANAGERS.test(starter)
}

function session({ signal }: AlertEvidence): ConfidencePart | undefined {
  const { process } = signal.event as Partial<Event>
  const above = [process?.parent?.name, ...(process?.ancestors ?? []).map((ancestor) => ancestor.name)]
  const daemon = daemonAbove(above, process?.tty ?? '')
  if (daemon !== undefined) {
    return { name: 'session', logOdds: WEIGHTS.session.daemon, why: `it descends from the network daemon ${daemon}` }
  }
  if (process?.tty === undefined || process.tty === '') return undefined
  return {
    name: 'session',
    logOdds: WEIGHTS.session.terminal,
    why: `it runs at the terminal ${process.tty}, as an administrator's work does`,
  }
}
