/** What was told last, on disk: after a restart only the differences are told. Written whole, bounded; lost, everything is told again. */
import { rmSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { zstdCompress, zstdDecompress } from 'node:zlib'
import type { InventoryFacts } from '@firebreak/shared/events/inventory.ts'
import { INVENTORY_LIMITS } from '@firebreak/shared/events/inventory.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { writeAtomic } from '../../disk/atomic-file.ts'
import type { Item } from './source.ts'

const FILE = 'inventory.json.zst'
const MAX_FILE_BYTES = 32 * MiB
const MAX_TEXT_BYTES = 256 * MiB
const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)

const Fact = Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Array(Type.String())])
const Saved = Type.Object(
  {
    v: Type.Literal(1),
    whole_at_ms: Type.Number(),
    sources: Type.Record(
      Type.String(),
      Type.Array(
        Type.Object({
          key: Type.String({ maxLength: INVENTORY_LIMITS.key }),
          label: Type.String(),
          facts: Type.Record(Type.String(), Fact),
        }),
      ),
    ),
  },
  { additionalProperties: false },
)
const savedSchema = Compile(Saved)

/** Of one source: what was told. */
export type Known = ReadonlyMap<string, { readonly label: string; readonly facts: InventoryFacts }>

export interface Snapshot {
  /** When all of it was told last, ms since 1970; never: negative infinity. */
  wholeAtMs: number
  readonly sources: Map<string, Known>
}

export function emptySnapshot(): Snapshot {
  return { wholeAtMs: Number.NEGATIVE_INFINITY, sources: new Map() }
}

export class SnapshotFile {
  readonly #path: string | undefined

  /** Without a folder nothing is kept over a restart. */
  constructor(folder: string | undefined) {
    this.#path = folder === undefined ? undefined : join(folder, FILE)
  }

  /** An empty one when there is none, or none that can be understood: `why` says which. */
  async read(): Promise<{ readonly snapshot: Snapshot; readonly why?: string }> {
    const none = emptySnapshot()
    if (this.#path === undefined) return { snapshot: none }
    try {
      const stat = statSync(this.#path, { throwIfNoEntry: false })
      if (!stat) return { snapshot: none }
      if (stat.size > MAX_FILE_BYTES) return { snapshot: none, why: `${FILE} is too large` }
      const text = (await decompress(await readFile(this.#path), { maxOutputLength: MAX_TEXT_BYTES })).toString('utf8')
      const saved: unknown = JSON.parse(text)
      if (!savedSchema.Check(saved)) return { snapshot: none, why: `${FILE} is no snapshot` }
      const sources = Object.entries(saved.sources).map(
        ([name, items]) => [name, new Map(items.map(({ key, label, facts }) => [key, { label, facts }]))] as const,
      )
      return { snapshot: { wholeAtMs: saved.whole_at_ms, sources: new Map(sources) } }
    } catch (error) {
      return {
        snapshot: none,
        why: `${FILE} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      }
    }
  }

  /** Throws when the disk does not take it; then differences are told a second time after a restart. */
  async write(snapshot: Snapshot): Promise<void> {
    if (this.#path === undefined) return
    const sources = [...snapshot.sources].map(
      ([name, known]) => [name, [...known].map(([key, { label, facts }]) => ({ key, label, facts }))] as const,
    )
    const text = JSON.stringify({ v: 1, whole_at_ms: snapshot.wholeAtMs, sources: Object.fromEntries(sources) })
    const packed = await compress(text)
    if (packed.length <= MAX_FILE_BYTES) writeAtomic(this.#path, packed)
    // Nothing is better than what no longer holds.
    else rmSync(this.#path, { force: true })
  }
}

export function knownOf(items: readonly Item[]): Known {
  return new Map(items.map(({ key, label, facts }) => [key, { label, facts }]))
}
