/**
 * What an event id of Windows is in the closed words of ECS. Source: Microsoft's documentation of the ids, Sysmon's schema, and how
 * Elastic's Winlogbeat modules sysmon, security and powershell classify them.
 */
import type { EVENT_CATEGORIES, EVENT_TYPES } from '../events/event.ts'

type Category = (typeof EVENT_CATEGORIES)[number]
type Type = (typeof EVENT_TYPES)[number]

export interface WindowsKind {
  readonly category: readonly Category[]
  readonly type: readonly Type[]
  readonly action: string
  /** Said by the id itself. */
  readonly outcome?: 'success' | 'failure'
  /** Which of the fields below it has. */
  readonly about:
    | 'process'
    | 'network'
    | 'dns'
    | 'file'
    | 'registry'
    | 'library'
    | 'account'
    | 'service'
    | 'object'
    | 'none'
}

const kind = (
  about: WindowsKind['about'],
  category: Category,
  type: Type | readonly Type[],
  action: string,
  outcome?: 'success' | 'failure',
): WindowsKind => ({
  about,
  category: [category],
  type: typeof type === 'string' ? [type] : type,
  action,
  ...(outcome === undefined ? {} : { outcome }),
})

const SYSMON: Readonly<Record<string, WindowsKind>> = {
  1: kind('process', 'process', 'start', 'process-started'),
  2: kind('file', 'file', 'change', 'file-creation-time-changed'),
  3: kind('network', 'network', ['connection', 'start'], 'connection-detected'),
  4: kind('none', 'configuration', 'change', 'sysmon-state-changed'),
  5: kind('process', 'process', 'end', 'process-ended'),
  6: kind('library', 'driver', 'start', 'driver-loaded'),
  7: kind('library', 'library', 'start', 'image-loaded'),
  8: kind('process', 'process', 'change', 'remote-thread-created'),
  9: kind('process', 'driver', 'access', 'raw-access-read'),
  10: kind('process', 'process', 'access', 'process-accessed'),
  11: kind('file', 'file', 'creation', 'file-created'),
  12: kind('registry', 'registry', 'change', 'registry-key-changed'),
  13: kind('registry', 'registry', 'change', 'registry-value-set'),
  14: kind('registry', 'registry', 'change', 'registry-renamed'),
  15: kind('file', 'file', 'creation', 'file-stream-created'),
  16: kind('none', 'configuration', 'change', 'sysmon-configuration-changed'),
  17: kind('file', 'file', 'creation', 'pipe-created'),
  18: kind('file', 'file', 'access', 'pipe-connected'),
  19: kind('none', 'configuration', 'creation', 'wmi-filter'),
  20: kind('none', 'configuration', 'creation', 'wmi-consumer'),
  21: kind('none', 'configuration', 'creation', 'wmi-binding'),
  22: kind('dns', 'network', ['connection', 'protocol', 'info'], 'dns-query'),
  23: kind('file', 'file', 'deletion', 'file-deleted'),
  24: kind('process', 'process', 'info', 'clipboard-changed'),
  25: kind('process', 'process', 'change', 'process-image-changed'),
  26: kind('file', 'file', 'deletion', 'file-deleted'),
  27: kind('file', 'file', 'denied', 'file-executable-blocked'),
  28: kind('file', 'file', 'denied', 'file-shredding-blocked'),
  29: kind('file', 'file', 'creation', 'file-executable-created'),
  255: kind('none', 'host', 'error', 'sysmon-error'),
}

const SECURITY: Readonly<Record<string, WindowsKind>> = {
  1102: kind('account', 'configuration', 'deletion', 'audit-log-cleared', 'success'),
  4611: kind('account', 'authentication', 'info', 'trusted-logon-process-registered'),
  4624: kind('account', 'authentication', 'start', 'logged-in', 'success'),
  4625: kind('account', 'authentication', 'start', 'logon-failed', 'failure'),
  4627: kind('account', 'authentication', 'info', 'group-membership'),
  4634: kind('account', 'session', 'end', 'logged-off', 'success'),
  4647: kind('account', 'session', 'end', 'logged-off', 'success'),
  4648: kind('account', 'authentication', 'start', 'logged-in-explicit', 'success'),
  4657: kind('object', 'registry', 'change', 'registry-value-modified'),
  4660: kind('object', 'file', 'deletion', 'object-deleted'),
  4661: kind('object', 'iam', 'info', 'handle-requested'),
  4662: kind('object', 'iam', 'info', 'object-operation-performed'),
  4663: kind('object', 'file', 'access', 'object-accessed'),
  4670: kind('object', 'configuration', 'change', 'permissions-changed'),
  4672: kind('account', 'iam', 'admin', 'privileges-assigned'),
  4673: kind('process', 'process', 'info', 'privileged-service-called'),
  4674: kind('process', 'process', 'info', 'privileged-operation'),
  4688: kind('process', 'process', 'start', 'process-started'),
  4689: kind('process', 'process', 'end', 'process-ended'),
  4697: kind('service', 'configuration', 'creation', 'service-installed'),
  4698: kind('none', 'configuration', 'creation', 'scheduled-task-created'),
  4699: kind('none', 'configuration', 'deletion', 'scheduled-task-deleted'),
  4700: kind('none', 'configuration', 'change', 'scheduled-task-enabled'),
  4701: kind('none', 'configuration', 'change', 'scheduled-task-disabled'),
  4702: kind('none', 'configuration', 'change', 'scheduled-task-updated'),
  4719: kind('account', 'configuration', 'change', 'audit-policy-changed'),
  4720: kind('account', 'iam', ['user', 'creation'], 'user-added'),
  4722: kind('account', 'iam', ['user', 'change'], 'user-enabled'),
  4723: kind('account', 'iam', ['user', 'change'], 'password-changed'),
  4724: kind('account', 'iam', ['user', 'change'], 'password-reset'),
  4725: kind('account', 'iam', ['user', 'change'], 'user-disabled'),
  4726: kind('account', 'iam', ['user', 'deletion'], 'user-deleted'),
  4728: kind('account', 'iam', ['group', 'change'], 'member-added'),
  4732: kind('account', 'iam', ['group', 'change'], 'member-added'),
  4738: kind('account', 'iam', ['user', 'change'], 'user-changed'),
  4740: kind('account', 'iam', ['user', 'change'], 'user-locked'),
  4768: kind('account', 'authentication', 'start', 'kerberos-ticket-requested'),
  4769: kind('account', 'authentication', 'start', 'kerberos-service-ticket-requested'),
  4770: kind('account', 'authentication', 'start', 'kerberos-ticket-renewed'),
  4771: kind('account', 'authentication', 'start', 'kerberos-preauthentication-failed', 'failure'),
  4776: kind('account', 'authentication', 'start', 'credential-validated'),
  4797: kind('account', 'iam', 'info', 'blank-password-queried'),
  4798: kind('account', 'iam', 'info', 'group-membership-enumerated'),
  4799: kind('account', 'iam', 'info', 'group-membership-enumerated'),
  4912: kind('account', 'configuration', 'change', 'audit-policy-changed'),
  5136: kind('account', 'iam', 'change', 'directory-object-changed'),
  5140: kind('file', 'file', 'access', 'share-accessed'),
  5145: kind('file', 'file', 'access', 'share-object-checked'),
  5152: kind('network', 'network', ['connection', 'denied'], 'packet-blocked'),
  5154: kind('network', 'network', ['connection', 'allowed'], 'listen-allowed'),
  5156: kind('network', 'network', ['connection', 'allowed'], 'connection-allowed'),
  5157: kind('network', 'network', ['connection', 'denied'], 'connection-blocked'),
  5158: kind('network', 'network', ['connection', 'allowed'], 'bind-allowed'),
  5379: kind('account', 'iam', 'access', 'credentials-read'),
}

const POWERSHELL: Readonly<Record<string, WindowsKind>> = {
  400: kind('process', 'process', 'info', 'powershell-engine-started'),
  403: kind('process', 'process', 'info', 'powershell-engine-stopped'),
  600: kind('process', 'process', 'info', 'powershell-provider-started'),
  800: kind('process', 'process', 'info', 'powershell-pipeline-executed'),
  4103: kind('process', 'process', 'info', 'powershell-module-logged'),
  4104: kind('process', 'process', 'info', 'powershell-script-block-logged'),
}

const SYSTEM: Readonly<Record<string, WindowsKind>> = {
  104: kind('account', 'configuration', 'deletion', 'event-log-cleared'),
  7034: kind('service', 'host', 'error', 'service-crashed'),
  7036: kind('service', 'host', 'info', 'service-state-changed'),
  7040: kind('service', 'configuration', 'change', 'service-start-type-changed'),
  7045: kind('service', 'configuration', 'creation', 'service-installed'),
}

const OF_CHANNEL: Readonly<Record<string, Readonly<Record<string, WindowsKind>>>> = {
  'microsoft-windows-sysmon/operational': SYSMON,
  'linux-sysmon/operational': SYSMON,
  security: SECURITY,
  'microsoft-windows-powershell/operational': POWERSHELL,
  'powershellcore/operational': POWERSHELL,
  'windows powershell': POWERSHELL,
  system: SYSTEM,
}
const OF_PROVIDER: Readonly<Record<string, Readonly<Record<string, WindowsKind>>>> = {
  'microsoft-windows-sysmon': SYSMON,
  'linux-sysmon': SYSMON,
  'microsoft-windows-security-auditing': SECURITY,
  'microsoft-windows-powershell': POWERSHELL,
  powershell: POWERSHELL,
}

/** The channel decides, the provider where there is none; any other record is a fact about the host. */
export function windowsKind(
  channel: string | undefined,
  provider: string | undefined,
  id: string | undefined,
): WindowsKind {
  const table = channel === undefined ? OF_PROVIDER[provider?.toLowerCase() ?? ''] : OF_CHANNEL[channel.toLowerCase()]
  const known = table !== undefined && id !== undefined && Object.hasOwn(table, id) ? table[id] : undefined
  return known ?? kind('none', 'host', 'info', `windows-${id ?? 'record'}`)
}
