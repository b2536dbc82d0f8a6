/** Asks before something is done that hurts. Where nobody can answer, silence is a no. */
import { CliError } from './exit-codes.ts'
import type { Io } from './io.ts'

export async function confirm(io: Pick<Io, 'canAsk' | 'ask'>, yes: boolean, question: string): Promise<void> {
  if (yes) return
  if (!io.canAsk) throw new CliError('usage', `${question} Nobody can answer here: add --yes to do it`)
  const answer = await io.ask(`${question} [y/N] `)
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError('failed', 'nothing was done')
}
