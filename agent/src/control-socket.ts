/** The door for root on this host: one line of JSON in, one out, over a Unix socket that nobody else may open. */
import { chmodSync, existsSync, mkdirSync, unlinkSync } from 'node:fs'
import { type Server, type Socket, connect, createServer } from 'node:net'
import { dirname } from 'node:path'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import { parseStrictJson } from '@firebreak/shared/wire/strict-json.ts'
import { type Static, Type } from 'typebox'
import { Compile } from 'typebox/compile'

const Request = Type.Union([
  Type.Object({ verb: Type.Literal('status') }, { additionalProperties: false }),
  Type.Object(
    { verb: Type.Literal('release'), code: Type.String({ maxLength: 256 }) },
    { additionalProperties: false },
  ),
])
export type ControlRequest = Static<typeof Request>
const requestSchema = Compile(Request)

export type ControlAnswer =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly code: string; readonly why: string }

export interface ControlSocket {
  close(): Promise<void>
}

const MAX_REQUEST_BYTES = 4_096
const MAX_ANSWER_BYTES = 4 * 1024 * 1024
const MAX_CONNECTIONS = 16
const REQUEST_MS = 5_000

/** `in_use`: another agent listens there. */
export async function listenForControl(
  path: string,
  handle: (request: ControlRequest) => Promise<ControlAnswer>,
): Promise<Result<ControlSocket, 'in_use'>> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  if (existsSync(path)) {
    if (await answers(path)) return refuse('in_use', `another agent listens on ${path}`)
    unlinkSync(path)
  }
  const open = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
    serve(socket, handle)
  })
  server.maxConnections = MAX_CONNECTIONS
  const before = process.umask(0o177) // the socket must never be open to others, not even until chmod
  try {
    await listening(server, path)
  } finally {
    process.umask(before)
  }
  chmodSync(path, 0o600)
  return ok({
    async close() {
      for (const socket of open) socket.destroy()
      await new Promise<void>((resolve) => {
        server.close(() => resolve())
      })
    },
  })
}

/** What the running agent answers; code `unreachable` when none runs. */
export function askAgent(path: string, request: ControlRequest, timeoutMs: number): Promise<ControlAnswer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let size = 0
    const socket = connect(path)
    socket.setTimeout(timeoutMs)
    socket.on('connect', () => socket.end(`${JSON.stringify(request)}\n`))
    socket.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > MAX_ANSWER_BYTES) socket.destroy(new Error('the answer is too long'))
      else chunks.push(chunk)
    })
    socket.on('timeout', () => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)))
    socket.on('error', (thrown) => {
      const code = (thrown as NodeJS.ErrnoException).code
      const isAbsent = code === 'ENOENT' || code === 'ECONNREFUSED'
      resolve(refuse('unreachable', isAbsent ? `no agent runs here (${path})` : `${path}: ${reasonOf(thrown)}`))
    })
    socket.on('end', () => {
      try {
        resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')) as ControlAnswer)
      } catch (thrown) {
        resolve(refuse('unreachable', `the agent gave no whole answer: ${reasonOf(thrown)}`))
      }
    })
  })
}

function serve(socket: Socket, handle: (request: ControlRequest) => Promise<ControlAnswer>): void {
  const chunks: Buffer[] = []
  let size = 0
  const answer = (value: ControlAnswer) => socket.end(`${JSON.stringify(value)}\n`)
  socket.setTimeout(REQUEST_MS, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > MAX_REQUEST_BYTES) socket.destroy()
    else chunks.push(chunk)
  })
  socket.on('end', () => {
    socket.setTimeout(0)
    const parsed = parseStrictJson(Buffer.concat(chunks))
    if (!parsed.ok || !requestSchema.Check(parsed.value)) {
      answer(refuse('malformed', 'not a request that the agent knows'))
      return
    }
    handle(parsed.value).then(answer, (thrown: unknown) => answer(refuse('internal', reasonOf(thrown))))
  })
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
