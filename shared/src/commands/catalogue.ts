import type { Static } from 'typebox'
import { isolateHostCard } from './isolate-host.ts'
import { killProcessCard } from './kill-process.ts'
import { releaseHostCard } from './release-host.ts'

/** Every command type there is; what is not here does not exist for either side. */
export const COMMAND_CARDS = {
  'isolate-host': isolateHostCard,
  'release-host': releaseHostCard,
  'kill-process': killProcessCard,
} as const

export type CommandType = keyof typeof COMMAND_CARDS
export const COMMAND_TYPES = Object.keys(COMMAND_CARDS) as readonly CommandType[]
export type CommandArgs<T extends CommandType> = Static<(typeof COMMAND_CARDS)[T]['args']>
export type CommandEvidence<T extends CommandType> = Static<(typeof COMMAND_CARDS)[T]['evidence']>

export function isCommandType(text: string): text is CommandType {
  return Object.hasOwn(COMMAND_CARDS, text)
}
