/**
 * How many events each day and class held when last looked, in a file beside the engine's own. The engine does not miss a part whose
 * folder is gone; what only ever grows, or goes whole with its day, must not have become less.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import type { ClassStats } from './telemetry-store.ts'

/** `2026-03-01 process` → events. */
export type PartLedger = Readonly<Record<string, number>>

const FILE = 'firebreak-ledger.json'

export function ledgerPath(dir: string): string {
  return join(dir, FILE)
}

/** `undefined` when there is none: a new store. */
export function readLedger(dir: string): PartLedger | undefined {
  let text: string
  try {
    text = readFileSync(ledgerPath(dir), 'utf8')
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new Fault('telemetry_unreadable', `${ledgerPath(dir)} cannot be read: ${reasonOf(thrown)}`, { cause: thrown })
  }
  try {
    const value = JSON.parse(text) as unknown
    if (typeof value !== 'object' || value === null || Object.values(value).some((count) => typeof count !== 'number'))
      throw new Error('it does not hold numbers')
    return value as PartLedger
  } catch (cause) {
    throw new Fault('telemetry_damaged', `${ledgerPath(dir)} is damaged: ${reasonOf(cause)}`, { cause })
  }
}

/** Durable, and never half. */
export function writeLedger(dir: string, days: readonly ClassStats[]): void {
  const ledger = Object.fromEntries(days.map(({ day, class: name, events }) => [`${day} ${name}`, events]))
  const next = `${ledgerPath(dir)}.next`
  const file = openSync(next, 'w', 0o600)
  try {
    writeSync(file, `${JSON.stringify(ledger)}\n`)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(next, ledgerPath(dir))
}

/** What is less than it was, in words. */
export function missing(ledger: PartLedger, days: readonly ClassStats[]): readonly string[] {
  const now = new Map(days.map(({ day, class: name, events }) => [`${day} ${name}`, events]))
  return Object.entries(ledger)
    .filter(([key, events]) => (now.get(key) ?? 0) < events)
    .map(([key, events]) => `${key}: ${now.get(key) ?? 0} of ${events} events`)
}
