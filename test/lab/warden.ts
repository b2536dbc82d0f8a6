import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '@firebreak/shared/result.ts'
import { childrenOf, identify, isAlive } from './process-table.ts'
import type { ProcessIdentity } from './process-table.ts'
import { removeRemains } from './remains.ts'

// A process of its own, detached from the test that owns the lab. It holds the lab's PID 1 as a child and the test at the other end of
// its standard input. When that ends, for whatever reason (dispose, exit, kill -9), it kills the PID 1 and with it, by the kernel's hand,
// every process, mount, network namespace and link of the lab; then it removes the lab's files. Should the warden itself be killed,
// --pdeathsig takes the PID 1 along, and the next lab's sweep removes the files.

// systemd-nspawn keeps locks and sockets in /run/systemd/nspawn: the lab has its own. The reaper never ends by itself. /proc/sys/net is that of the new network namespace: the switch itself shall never speak.
const INIT = `
set -e
mount --make-rprivate /
echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
ip link set lo up
ip link add br0 type bridge forward_delay 0 mcast_snooping 0
ip link set br0 up
mkdir -p "$1/ns" "$1/hosts" "$1/captures"
mount -t tmpfs -o size=1m,mode=700 fblab "$1/ns"
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=755 fblab /run/systemd/nspawn
echo ready
exec 1>&- 0<&-
while :; do sleep 1000000 & wait "$!" || :; done
`

const CONTAINED = [
  '--pdeathsig',
  'KILL',
  'unshare',
  '--fork',
  '--kill-child=SIGKILL',
  '--pid',
  '--mount',
  '--net',
  '--mount-proc',
]

const directory = process.argv[2]
if (directory === undefined) throw new Fault('lab_bad_request', 'the warden needs the directory of its lab')

const lab = spawn('setpriv', [...CONTAINED, 'sh', '-c', INIT, 'fblab-init', directory], {
  stdio: ['ignore', 'pipe', 'inherit'],
})
const gone = once(lab, 'exit')
const ownerGone = new Promise<void>((resolve) => {
  process.stdin
    .once('end', resolve)
    .once('error', () => resolve())
    .resume()
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => resolve())
})

const ready = await Promise.race([
  once(lab.stdout, 'data').then(String),
  gone.then(() => 'gone'),
  ownerGone.then(() => 'owner gone'),
])
if (ready === 'gone') process.exit(1) // what the shell complained of is in the log; the owner reads it and removes the directory
const init = lab.pid === undefined ? undefined : childrenOf(lab.pid).map(identify)[0]
if (ready.startsWith('ready')) {
  process.stdout.on('error', () => {}) // the owner is gone; standard input says so too
  process.stdout.write(`${JSON.stringify({ init })}\n`)
  await Promise.race([ownerGone, gone])
}
lab.kill('SIGKILL') // unshare; --kill-child takes the PID 1 along
await gone
if (init !== undefined) await endOf(init)
await removeRemains(directory)

/** A PID 1 ends only after everything in its namespace has ended (pid_namespaces(7)). */
async function endOf(init: ProcessIdentity): Promise<void> {
  while (isAlive(init)) await sleep(10)
}
