import { createLab } from './lab.ts'

// Makes a lab, says which, and waits to be killed. `ending`: what it does instead.
const ending = process.argv[2]
const lab = await createLab({ name: 'abandoned' })
const node = await lab.node('attacker', { programs: 'debian' })
const host = await lab.host('web-1')
await lab.capture({ on: host })
const noise = node.spawn(['ping', '-i', '0.2', host.address4])
await noise.waitForOutput(/from/)
console.log(JSON.stringify({ id: lab.id, directory: lab.directory }))
if (ending === 'return') process.exit(0)
setInterval(() => {}, 1 << 30)
