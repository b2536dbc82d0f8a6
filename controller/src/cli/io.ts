/** Everything of the process that the command line touches, so that a test can own it. */
import { createInterface } from 'node:readline/promises'
import type { Writable } from 'node:stream'
import pico from 'picocolors'

export type Colors = ReturnType<typeof pico.createColors>

export interface Io {
  /** Data. */
  out(text: string): void
  /** Talk. */
  say(text: string): void
  /** Where a spinner may draw; undefined when nobody would see it. */
  readonly spinnerOn: (Writable & { readonly isTTY?: boolean }) | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  readonly columns: number
  /** Data is read by a person as it comes. */
  readonly outIsTerminal: boolean
  readonly colors: Colors
  /** A person answers. */
  readonly canAsk: boolean
  ask(question: string): Promise<string>
}

/** Without a terminal people read in files and mails, where 100 columns are the custom. */
export const DEFAULT_COLUMNS = 100

export function processIo(): Io {
  const { stdout, stderr, stdin, env } = process
  const colored = !env['NO_COLOR'] && (Boolean(env['FORCE_COLOR']) || (stdout.isTTY && env['TERM'] !== 'dumb'))
  return {
    out: (text) => void stdout.write(text),
    say: (text) => void stderr.write(`${text}\n`),
    spinnerOn: stderr.isTTY && env['TERM'] !== 'dumb' ? stderr : undefined,
    env,
    cwd: process.cwd(),
    outIsTerminal: stdout.isTTY && env['TERM'] !== 'dumb',
    columns: stdout.isTTY ? Math.max(60, Math.min(stdout.columns, 200)) : DEFAULT_COLUMNS,
    colors: pico.createColors(colored),
    canAsk: stdin.isTTY && stderr.isTTY,
    async ask(question) {
      const lines = createInterface({ input: stdin, output: stderr })
      try {
        return await lines.question(question)
      } finally {
        lines.close()
      }
    },
  }
}
