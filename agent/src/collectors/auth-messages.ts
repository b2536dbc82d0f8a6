/**
 * What sshd, sudo, su, login, PAM and systemd-logind write about people coming and going. Names, folders and commands in these lines
 * belong to whoever tries to log in: every pattern is anchored at both ends, what ends a line is read from the end, and lines are short.
 * Sources: openssh-portable auth.c and packet.c, sudo's logging.c, shadow's su.c, util-linux' su-common.c and login.c, Linux-PAM's pam_unix.
 */

/** Longest line that is looked at, in UTF-16 units. */
export const MAX_LINE = 8_192

export type AuthAction =
  | 'ssh-login'
  | 'console-login'
  | 'sudo-command'
  | 'su-login'
  | 'pam-authentication'
  | 'session-opened'
  | 'session-closed'

export interface AuthFact {
  readonly action: AuthAction
  readonly outcome: 'success' | 'failure' | 'unknown'
  /** The account that was entered or tried. */
  readonly user?: string
  readonly uid?: string
  /** Who did it, where it is another account. */
  readonly byUser?: string
  readonly byUid?: string
  readonly sourceIp?: string
  readonly sourcePort?: number
  readonly tty?: string
  readonly workingDirectory?: string
  readonly command?: string
  /** Method or cause in the words of the program. */
  readonly reason?: string
}

/** `program`: the syslog identifier without a path. Undefined for lines that say nothing about a login. */
export function parseAuthMessage(program: string, message: string): AuthFact | undefined {
  if (message.length > MAX_LINE) return undefined
  if (message.startsWith('pam_unix(')) return parsePam(message)
  switch (program) {
    case 'sshd':
    case 'sshd-session':
      return parseSshd(message)
    case 'sudo':
      return parseSudo(message)
    case 'su':
      return parseSu(message)
    case 'login':
      return parseLogin(message)
    case 'systemd-logind':
      return parseLogind(message)
    default:
      return undefined
  }
}

function parseSshd(message: string): AuthFact | undefined {
  const head = /^(Accepted|Failed|Postponed|Invalid user|Disconnected from user) ?/.exec(message)
  switch (head?.[1]) {
    case 'Accepted':
    case 'Failed': {
      const method = /^(?:Accepted|Failed) ([\w/-]{1,64}) for /.exec(message)
      if (!method) return undefined
      const rest = message.slice(method[0].length)
      const isSuccess = head[1] === 'Accepted'
      const isInvalid = !isSuccess && rest.startsWith('invalid user ')
      const found = userAndPeer(isInvalid ? rest.slice('invalid user '.length) : rest)
      return (
        found && {
          action: 'ssh-login',
          outcome: isSuccess ? 'success' : 'failure',
          ...found,
          reason: isInvalid ? `${method[1]}: no such account` : (method[1] ?? ''),
        }
      )
    }
    case 'Invalid user': {
      const found = userAndPeer(message.slice('Invalid user '.length))
      return found && { action: 'ssh-login', outcome: 'failure', ...found, reason: 'no such account' }
    }
    default:
      return undefined
  }
}

/** `NAME from ADDRESS port N ssh2[: KEY]`. The name may hold all of that itself, so the last place that fits counts. */
function userAndPeer(text: string): Pick<AuthFact, 'user' | 'sourceIp' | 'sourcePort'> | undefined {
  let at = text.lastIndexOf(' from ')
  // A certificate's own text can follow the address; more than a few such places is nobody's certificate.
  for (let tries = 0; at >= 0 && tries < 8; tries++) {
    const peer = /^ from ([0-9A-Fa-f:.%\w-]{1,255}) port (\d{1,5})(?: ssh2)?(?:: .*)?$/s.exec(text.slice(at))
    const port = Number(peer?.[2])
    if (peer && port <= 65_535) {
      return { user: text.slice(0, at), ...(peer[1] === undefined ? {} : { sourceIp: peer[1] }), sourcePort: port }
    }
    at = at === 0 ? -1 : text.lastIndexOf(' from ', at - 1)
  }
  return undefined
}

/** `alice : [3 incorrect password attempts ; ]TTY=pts/0 ; PWD=/home/alice ; USER=root ; [GROUP=..; ENV=..;] COMMAND=/usr/bin/id`. */
function parseSudo(message: string): AuthFact | undefined {
  const head = /^ {0,32}([^ ]{1,256}) : /.exec(message)
  if (!head?.[1]) return undefined
  const rest = message.slice(head[0].length)
  const ttyAt = rest.startsWith('TTY=') ? 0 : rest.indexOf(' ; TTY=')
  const userAt = rest.indexOf(' ; USER=')
  const commandAt = rest.indexOf(' ; COMMAND=')
  // The first COMMAND= counts: a folder named "; COMMAND=/bin/true" can lengthen the command, never hide it.
  if (userAt < 0 || commandAt < userAt) return undefined
  const complaint = ttyAt > 0 ? rest.slice(0, ttyAt) : ''
  const fields = rest.slice(ttyAt > 0 ? ttyAt + ' ; '.length : 0, userAt)
  const tty = /^TTY=([^ ;]{1,128})/.exec(fields)?.[1]
  const pwdAt = fields.indexOf('PWD=')
  return {
    action: 'sudo-command',
    outcome: complaint === '' ? 'success' : 'failure',
    byUser: head[1],
    user: rest.slice(userAt + ' ; USER='.length, commandAt).split(' ; ', 1)[0] ?? '',
    command: rest.slice(commandAt + ' ; COMMAND='.length),
    ...(tty === undefined || tty === 'unknown' ? {} : { tty }),
    ...(pwdAt < 0 ? {} : { workingDirectory: fields.slice(pwdAt + 'PWD='.length) }),
    ...(complaint === '' ? {} : { reason: complaint }),
  }
}

function parseSu(message: string): AuthFact | undefined {
  const found = /^(FAILED SU )?\(to ([^)]{1,256})\) (\S{1,256}) on (\S{1,128})$/.exec(message)
  if (!found?.[2] || !found[3] || !found[4]) return undefined
  return {
    action: 'su-login',
    outcome: found[1] ? 'failure' : 'success',
    user: found[2],
    byUser: found[3],
    ...(found[4] === 'none' ? {} : { tty: found[4] }),
  }
}

function parseLogin(message: string): AuthFact | undefined {
  const failed =
    /^FAILED LOGIN (?:SESSION )?(?:\(\d{1,9}\) )?(?:on|FROM) '?([^' ]{1,255})'? FOR '?(.{0,256}?)'?, (.{1,512})$/.exec(
      message,
    )
  if (failed?.[1]) {
    return {
      action: 'console-login',
      outcome: 'failure',
      user: failed[2] ?? '',
      tty: failed[1],
      reason: failed[3] ?? '',
    }
  }
  const entered =
    /^(?:ROOT LOGIN {1,2}on '?([^' ]{1,128})'?|LOGIN ON (\S{1,128}) BY (\S{1,256}))(?: FROM .{0,256})?$/i.exec(message)
  const tty = entered?.[1] ?? entered?.[2]
  return tty === undefined
    ? undefined
    : { action: 'console-login', outcome: 'success', user: entered?.[3] ?? 'root', tty }
}

function parseLogind(message: string): AuthFact | undefined {
  const opened = /^New session ['"]?\w{1,64}['"]? of user ['"]?([^'" ]{1,256}?)['"]?\.?(?: with class .{0,128})?$/.exec(
    message,
  )
  return opened?.[1] ? { action: 'session-opened', outcome: 'success', user: opened[1], reason: 'logind' } : undefined
}

function parsePam(message: string): AuthFact | undefined {
  const session =
    /^pam_unix\(([\w.-]{1,64}):session\): session (opened|closed) for user ([^( ]{1,256})(?:\(uid=(\d{1,10})\))?(?: by ([^( ]{0,256})\(uid=(\d{1,10})\))?$/.exec(
      message,
    )
  if (session?.[1] && session[3]) {
    return {
      action: session[2] === 'opened' ? 'session-opened' : 'session-closed',
      outcome: 'success',
      user: session[3],
      ...(session[4] === undefined ? {} : { uid: session[4] }),
      ...(session[5] ? { byUser: session[5] } : {}),
      ...(session[6] === undefined ? {} : { byUid: session[6] }),
      reason: session[1],
    }
  }
  const failure =
    /^pam_unix\(([\w.-]{1,64}):auth\): authentication failure; logname=\S{0,256} uid=(\d{1,10}) euid=\d{1,10} tty=(\S{0,128}) ruser=(\S{0,256}) rhost=(\S{0,255})(?: {1,2}user=(.{0,256}))?$/.exec(
      message,
    )
  // sshd says the same by itself, with the port.
  if (!failure?.[1] || failure[1] === 'sshd') return undefined
  return {
    action: 'pam-authentication',
    outcome: 'failure',
    ...(failure[6] === undefined ? {} : { user: failure[6] }),
    ...(failure[2] === undefined ? {} : { byUid: failure[2] }),
    ...(failure[4] ? { byUser: failure[4] } : {}),
    ...(failure[3] ? { tty: failure[3] } : {}),
    ...(failure[5] ? { sourceIp: failure[5] } : {}),
    reason: failure[1],
  }
}
