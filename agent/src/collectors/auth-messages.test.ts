import { describe, expect, it } from 'vitest'
import { parseAuthMessage } from './auth-messages.ts'
import { parseSyslogLine } from './logins.ts'

describe('lines of programs that let people in', () => {
  it.each([
    [
      'sshd',
      'Accepted password for alice from 192.0.2.7 port 51000 ssh2',
      {
        action: 'ssh-login',
        outcome: 'success',
        user: 'alice',
        sourceIp: '192.0.2.7',
        sourcePort: 51_000,
        reason: 'password',
      },
    ],
    [
      'sshd-session',
      'Accepted publickey for root from 2001:db8::1 port 22 ssh2: ED25519 SHA256:abc/def+g',
      { outcome: 'success', user: 'root', sourceIp: '2001:db8::1', reason: 'publickey' },
    ],
    ['sshd', 'Failed password for root from 192.0.2.7 port 4022 ssh2', { outcome: 'failure', user: 'root' }],
    [
      'sshd',
      'Failed password for invalid user admin from 192.0.2.7 port 4022 ssh2',
      { outcome: 'failure', user: 'admin', reason: 'password: no such account' },
    ],
    ['sshd', 'Invalid user  from 192.0.2.7 port 4022', { outcome: 'failure', user: '', sourcePort: 4022 }],
    [
      'sudo',
      '   alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id -a',
      {
        action: 'sudo-command',
        outcome: 'success',
        byUser: 'alice',
        user: 'root',
        tty: 'pts/0',
        workingDirectory: '/home/alice',
        command: '/usr/bin/id -a',
      },
    ],
    [
      'sudo',
      'bob : 3 incorrect password attempts ; TTY=pts/1 ; PWD=/tmp ; USER=root ; COMMAND=/bin/sh',
      { outcome: 'failure', byUser: 'bob', reason: '3 incorrect password attempts' },
    ],
    [
      'sudo',
      'eve : user NOT in sudoers ; TTY=pts/1 ; PWD=/tmp ; USER=root ; COMMAND=/bin/sh',
      { outcome: 'failure', reason: 'user NOT in sudoers' },
    ],
    [
      'sudo',
      'alice : TTY=pts/0 ; PWD=/ ; USER=root ; GROUP=adm ; COMMAND=/bin/ls',
      { user: 'root', command: '/bin/ls' },
    ],
    [
      'su',
      '(to root) alice on pts/2',
      { action: 'su-login', outcome: 'success', user: 'root', byUser: 'alice', tty: 'pts/2' },
    ],
    ['su', 'FAILED SU (to root) alice on pts/2', { outcome: 'failure' }],
    [
      'login',
      "FAILED LOGIN (1) on '/dev/tty1' FOR 'root', Authentication failure",
      { action: 'console-login', outcome: 'failure', user: 'root', tty: '/dev/tty1' },
    ],
    ['login', "ROOT LOGIN  on '/dev/tty1'", { action: 'console-login', outcome: 'success', user: 'root' }],
    [
      'sshd',
      'pam_unix(sshd:session): session opened for user alice(uid=1000) by (uid=0)',
      { action: 'session-opened', user: 'alice', uid: '1000', byUid: '0', reason: 'sshd' },
    ],
    ['sudo', 'pam_unix(sudo:session): session closed for user root', { action: 'session-closed', user: 'root' }],
    [
      'su',
      'pam_unix(su:auth): authentication failure; logname=alice uid=1000 euid=0 tty=pts/0 ruser=alice rhost=  user=root',
      { action: 'pam-authentication', outcome: 'failure', user: 'root', byUser: 'alice' },
    ],
    ['systemd-logind', 'New session 3 of user alice.', { action: 'session-opened', user: 'alice' }],
  ])('reads %s: %s', (program, message, fact) => {
    expect(parseAuthMessage(program, message)).toMatchObject(fact)
  })

  it.each([
    ['sshd', 'Server listening on 0.0.0.0 port 22.'],
    [
      'sshd',
      'pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root',
    ],
    ['cron', 'Accepted password for alice from 192.0.2.7 port 51000 ssh2'],
    ['sudo', 'alice : TTY=pts/0'],
    ['sshd', 'Accepted password for alice from 192.0.2.7 port 99999 ssh2'],
    ['su', ''],
  ])('says nothing about %s: %s', (program, message) => {
    expect(parseAuthMessage(program, message)).toBeUndefined()
  })

  it('takes the address that sshd wrote, not one that is part of a made-up account name', () => {
    const name = 'x from 198.51.100.1 port 22 ssh2'
    expect(
      parseAuthMessage('sshd', `Failed password for invalid user ${name} from 192.0.2.7 port 4022 ssh2`),
    ).toMatchObject({
      user: name,
      sourceIp: '192.0.2.7',
      sourcePort: 4022,
    })
    expect(parseAuthMessage('sshd', `Invalid user ${name}: y from 192.0.2.7 port 4022`)).toMatchObject({
      sourceIp: '192.0.2.7',
    })
  })

  it('does not let a folder name hide the command that sudo ran', () => {
    const message = 'eve : TTY=pts/0 ; PWD=/tmp/a ; USER=eve ; COMMAND=/bin/true ; USER=root ; COMMAND=/bin/evil'
    expect(parseAuthMessage('sudo', message)?.command).toContain('/bin/evil')
  })

  it('takes no longer for hostile lines than for others', () => {
    const started = performance.now()
    for (const program of ['sshd', 'sudo', 'su', 'login', 'systemd-logind']) {
      for (const piece of [
        ' from ',
        ' ; TTY=',
        ' ; USER=',
        ' ; COMMAND=',
        'a',
        ' ',
        "'",
        '(',
        'x from 1.1.1.1 port 1 ',
      ]) {
        for (const head of [
          'Failed password for ',
          'Accepted password for ',
          'Invalid user ',
          'x : ',
          '(to ',
          'FAILED LOGIN on ',
          'pam_unix(sshd:auth): ',
          'New session ',
        ]) {
          parseAuthMessage(program, (head + piece.repeat(8_192)).slice(0, 8_192))
        }
      }
    }
    expect(performance.now() - started).toBeLessThan(2_000)
  })
})

describe('lines of log files', () => {
  it('reads both kinds of syslog headers', () => {
    expect(parseSyslogLine('Nov  4 08:15:48 web-1 sshd[123]: hello', 5)).toEqual({
      atMs: 5,
      program: 'sshd',
      pid: 123,
      message: 'hello',
    })
    expect(parseSyslogLine('2026-11-24T09:15:48.123456+01:00 web-1 /usr/sbin/sudo: hello: x', 5)).toEqual({
      atMs: Date.UTC(2026, 10, 24, 8, 15, 48, 123),
      program: 'sudo',
      pid: undefined,
      message: 'hello: x',
    })
    expect(parseSyslogLine('not a line of syslog', 5)).toBeUndefined()
  })
})
