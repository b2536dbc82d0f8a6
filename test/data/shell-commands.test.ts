import { expect, it } from 'vitest'
import { shellTrace } from './shell-commands.ts'

it.each<[script: string, commands: string[][], written: string[]]>([
  ['whoami', [['whoami']], []],
  [
    'cat /etc/passwd | grep root && id; uname -a &',
    [['cat', '/etc/passwd'], ['grep', 'root'], ['id'], ['uname', '-a']],
    [],
  ],
  ['A=1 B="x y" curl -s "http://h/$A" -o f 2>/dev/null', [['curl', '-s', 'http://h/$A', '-o', 'f']], []],
  [`echo 'a;b|c' > "/tmp/x y"`, [['echo', 'a;b|c']], ['/tmp/x y']],
  [
    'if [ -f a ]; then rm -rf a >> log 2>&1; fi',
    [
      ['[', '-f', 'a', ']'],
      ['rm', '-rf', 'a'],
    ],
    ['log'],
  ],
  [
    'X=$(cut -d" " -f1 "$(ls /proc)")',
    [
      ['cut', '-d ', '-f1', '$(ls /proc)'],
      ['ls', '/proc'],
    ],
    [],
  ],
  ['sudo \\\n  nmap -p 80 `hostname`', [['sudo', 'nmap', '-p', '80', '`hostname`'], ['hostname']], []],
  ['for i in 1 2; do ping $i; done # not this: rm', [['ping', '$i']], []],
  [')))"\'$(`', [], []],
])('%s', (script, commands, written) => {
  const trace = shellTrace(script)
  if (commands.length > 0) expect(trace.commands).toEqual(commands)
  expect(trace.written).toEqual(written)
})
