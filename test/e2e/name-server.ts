/** A name server that knows one name, to be run on a node of the lab: it answers questions for its IPv4 address, and has no other. RFC 1035, 4.1. */

const PROGRAM = `
const [name, address] = process.argv.slice(1)
const wanted = Buffer.concat([...name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])), Buffer.from([0])])
const server = require('dgram').createSocket('udp4')
server.on('message', (asked, from) => {
  const end = asked.indexOf(0, 12) + 5
  const question = asked.subarray(12, end)
  const isKnown = question.subarray(0, -4).equals(wanted)
  const isAnswered = isKnown && question.readUInt16BE(question.length - 4) === 1
  const head = Buffer.from([asked[0], asked[1], 0x81, isKnown ? 0x80 : 0x83, 0, 1, 0, isAnswered ? 1 : 0, 0, 0, 0, 0])
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split('.').map(Number)])
  server.send(Buffer.concat([head, question, ...(isAnswered ? [answer] : [])]), from.port, from.address)
})
server.bind(53)
`

export function nameServer(name: string, address: string): readonly string[] {
  return [process.execPath, '-e', PROGRAM, name, address]
}
