/**
 * ClickHouse's HTTP interface in front of chDB, in a process of its own, for tests of what speaks to a server: the statement in the
 * address or the body, `param_`s, settings, credentials, compression both ways, answers in pieces, exceptions with their number
 * (ClickHouse, interfaces, HTTP). Started as `node clickhouse-server.rig.ts DIR USER PASSWORD`; tells its port by IPC.
 */
import { fork } from 'node:child_process'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { Session } from 'chdb'

export interface RigServer {
  readonly url: string
  stop(): Promise<void>
}

export async function startClickhouseRig(dir: string, username: string, password: string): Promise<RigServer> {
  const child = fork(import.meta.filename, [dir, username, password], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  let said = ''
  child.stderr?.on('data', (text: Buffer) => (said += text.toString('utf8')))
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', resolve as (message: unknown) => void)
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${said}`)))
  })
  return {
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.disconnect()
      await ended
    },
  }
}

if (process.argv[1] === import.meta.filename && process.send) {
  const [dir = '', username = '', password = ''] = process.argv.slice(2)
  // Holds the data open; each request has a connection of its own, as on a server.
  const session = new Session(dir)
  const credentials = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
  const server = createServer((request, response) => {
    const own = new Session(dir)
    serve(own, credentials, request, response)
      .catch((thrown: unknown) => fail(response, String(thrown)))
      .finally(() => own.close())
  })
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as { port: number }).port))
  process.on('disconnect', () => {
    session.close()
    process.exit(0)
  })
}

async function serve(
  session: Session,
  credentials: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://rig')
  if (request.headers.authorization !== credentials) {
    fail(response, 'Code: 516. DB::Exception: Authentication failed (AUTHENTICATION_FAILED)')
    return
  }
  const body = await buffer(request.headers['content-encoding'] === 'gzip' ? request.pipe(createGunzip()) : request)
  const inAddress = url.searchParams.get('query')
  const sql = (inAddress ?? body.toString('utf8')).trim()
  const { settings, params } = questionOf(url)
  const insert = /^insert into (\S+) \(([^)]*)\)\s+format (\w+)$/i.exec(sql)
  if (insert && inAddress !== null) {
    const [, table = '', columns = '', format = ''] = insert
    if (format !== 'TabSeparated') throw new Error(`the rig takes no ${format}`)
    await session.insert({ table, columns: columns.split(', '), values: body, format, settings })
    response.setHeader('X-ClickHouse-Summary', JSON.stringify({ written_rows: '1' }))
    response.end()
    return
  }
  const [, statement = sql, format = 'TabSeparated'] = /^([^]*?)\s+format (\w+)$/i.exec(sql) ?? []
  // What only a server understands.
  for (const name of [
    'wait_end_of_query',
    'cancel_http_readonly_queries_on_client_close',
    'enable_http_compression',
    'application',
  ])
    Reflect.deleteProperty(settings, name)
  const said = Object.entries(settings).map(
    ([name, value]) => `${name} = ${/^[\d.]+$/.test(value) ? value : `'${value}'`}`,
  )
  const whole =
    said.length > 0 && /^\s*select/i.test(statement) ? `${statement} settings ${said.join(', ')}` : statement
  const compressed =
    /gzip/.test(request.headers['accept-encoding'] ?? '') && url.searchParams.get('enable_http_compression') === '1'
  if (compressed) response.setHeader('Content-Encoding', 'gzip')
  const pieces = /^\s*select/i.test(statement)
    ? chunks(session, whole, params, format)
    : once(session, whole, params, format)
  const first = await pieces[Symbol.asyncIterator]().next()
  const all = Readable.from(rest(first, pieces), { objectMode: false })
  await (compressed ? pipeline(all, createGzip(), response) : pipeline(all, response))
}

async function* rest(
  first: IteratorResult<Uint8Array>,
  others: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (first.done) return
  yield first.value
  yield* others
}

async function* chunks(
  session: Session,
  sql: string,
  params: Record<string, string>,
  format: string,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of session.queryStreamBind(sql, params, { format })) yield chunk.raw()
}

async function* once(
  session: Session,
  sql: string,
  params: Record<string, string>,
  format: string,
): AsyncGenerator<Uint8Array> {
  yield (await session.queryBindAsync(sql, params, { format })).bytes()
}

function questionOf(url: URL): { readonly settings: Record<string, string>; readonly params: Record<string, string> } {
  const settings: Record<string, string> = {}
  const params: Record<string, string> = {}
  for (const [name, value] of url.searchParams) {
    if (name.startsWith('param_')) params[name.slice('param_'.length)] = unescaped(value)
    else if (!['query', 'query_id', 'database', 'session_id', 'role', 'default_format'].includes(name))
      settings[name] = value
  }
  return { settings, params }
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', 0: '\0', b: '\b', f: '\f' }

/** A parameter comes as a value of TabSeparated; chDB's binding escapes it again. */
function unescaped(value: string): string {
  return value.replaceAll(/\\(.)/gs, (_, character: string) => ESCAPES[character] ?? character)
}

function fail(response: ServerResponse, message: string): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  response.removeHeader('Content-Encoding')
  const number = /Code: (\d+)/.exec(message)?.[1] ?? '1000'
  response.writeHead(number === '516' ? 403 : 500, { 'X-ClickHouse-Exception-Code': number })
  response.end(`${message.replace(/^.*?(?=Code:)/s, '')}\n`)
}
