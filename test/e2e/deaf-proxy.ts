/**
 * `node deaf-proxy.ts PORT HOST PORT`: passes TCP on. The line `deaf` on standard input makes it drop what clients say while they still
 * hear the other side, `hear` undoes it: a controller that can be heard and no longer reached.
 */
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'

const [port, targetHost, targetPort] = process.argv.slice(2)
let deaf = false

createServer((client) => {
  const target = connect(Number(targetPort), targetHost)
  client.on('data', (bytes) => {
    if (!deaf) target.write(bytes)
  })
  target.on('data', (bytes) => client.write(bytes))
  for (const [one, other] of [
    [client, target],
    [target, client],
  ] as const) {
    one.on('error', () => other.destroy())
    one.on('close', () => other.destroy())
  }
}).listen(Number(port), '::', () => console.log('listening'))

createInterface(process.stdin).on('line', (line) => {
  deaf = line === 'deaf'
  console.log(`now ${line}`)
})
