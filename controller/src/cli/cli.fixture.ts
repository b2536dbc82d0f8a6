/** The command line as a person runs it, against an API that listens on loopback. */
import pico from 'picocolors'
import { type ApiUnderTest, startApi } from '../api/api.fixture.ts'
import type { Role } from '../orders/orders.ts'
import type { Io } from './io.ts'
import { runCli } from './program.ts'

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
  json(): unknown
}

export interface RunOptions {
  readonly role?: Role
  readonly env?: Readonly<Record<string, string>>
  /** A person who answers so. */
  readonly answer?: string
  readonly columns?: number
  readonly colors?: boolean
  readonly now?: number
  /** Runs at each pause of a waiting verb instead of the time passing. */
  readonly onSleep?: (n: number) => Promise<void> | void
}

export async function startCli(changes: Parameters<typeof startApi>[0] = {}) {
  const door: ApiUnderTest = await startApi(changes)
  const url = await door.api.listen({ host: '127.0.0.1', port: 0 })
  const asked: string[] = []
  return {
    door,
    url,
    asked,
    async run(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
      const env = {
        FIREBREAK_API: url,
        FIREBREAK_TOKEN: door.secretOf(options.role ?? 'admin'),
        ...options.env,
      }
      return await runWith(argv, env, door.dir, options, asked)
    },
    stop: async () => await door.stop(),
  }
}

export async function runWith(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  cwd: string,
  options: RunOptions = {},
  asked: string[] = [],
): Promise<Ran> {
  let out = ''
  let err = ''
  const io: Io = {
    out: (text) => {
      out += text
    },
    say: (text) => {
      err += `${text}\n`
    },
    spinnerOn: undefined,
    env,
    cwd,
    outIsTerminal: false,
    columns: options.columns ?? 100,
    colors: pico.createColors(options.colors ?? false),
    canAsk: options.answer !== undefined,
    ask: async (question) => {
      asked.push(question)
      return options.answer ?? ''
    },
  }
  let now = options.now ?? Date.UTC(2026, 10, 24, 12, 5)
  let slept = 0
  const code = await runCli(argv, {
    io,
    now: () => now,
    async sleep(ms) {
      now += ms
      await options.onSleep?.(slept++)
    },
  })
  return { code, out, err, json: () => JSON.parse(out) as unknown }
}
