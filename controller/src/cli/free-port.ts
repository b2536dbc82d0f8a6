import { createServer } from 'node:net'

const LOOPBACK = '127.0.0.1'

/** The wanted port of loopback, or a free one when somebody has it; `taken` hears which. */
export async function pickPort(wanted: number, taken: (instead: number) => void): Promise<number> {
  const first = await tryPort(wanted)
  if (first !== undefined) return first
  const other = await tryPort(0)
  if (other === undefined) throw new Error('no free port on loopback')
  taken(other)
  return other
}

function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(undefined)
      else reject(error)
    })
    server.listen(port, LOOPBACK, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : undefined))
    })
  })
}
