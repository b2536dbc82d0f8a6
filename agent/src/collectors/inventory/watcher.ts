/** Says at once that something happened where a source is written down; looking every minute stays behind it, for what cannot be watched. */
import { type FSWatcher, watch } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { InventorySource } from './source.ts'

const MAX_FOLDERS = 256

/** File name, or '' for any, to who wants to know. */
type Names = Map<string, Set<InventorySource>>

export class SourceWatcher {
  readonly #root: string
  readonly #sources: readonly InventorySource[]
  readonly #changed: (source: InventorySource) => void
  readonly #folders = new Map<string, FSWatcher>()

  constructor(root: string, sources: readonly InventorySource[], changed: (source: InventorySource) => void) {
    this.#root = root
    this.#sources = sources
    this.#changed = changed
  }

  /** Watches what is there; a folder that comes later is found at a later call. */
  arm(): void {
    for (const [folder, names] of wantedBy(this.#sources)) {
      if (this.#folders.has(folder) || this.#folders.size >= MAX_FOLDERS) continue
      try {
        const watcher = watch(join(this.#root, folder), { persistent: false }, (_what, name) =>
          this.#happened(names, name),
        )
        watcher.on('error', () => this.#drop(folder))
        this.#folders.set(folder, watcher)
      } catch {
        // Not there, or no watch left: it is looked at every now and then all the same.
      }
    }
  }

  /** A watched folder may have been replaced by another one of that name: begun anew. */
  rearm(): void {
    this.close()
    this.arm()
  }

  close(): void {
    for (const folder of this.#folders.keys()) this.#drop(folder)
  }

  #drop(folder: string): void {
    this.#folders.get(folder)?.close()
    this.#folders.delete(folder)
  }

  #happened(names: Names, name: string | null): void {
    const sources = new Set([...(names.get('') ?? []), ...(name === null ? [] : (names.get(name) ?? []))])
    for (const source of sources) this.#changed(source)
  }
}

function wantedBy(sources: readonly InventorySource[]): Map<string, Names> {
  const wanted = new Map<string, Names>()
  for (const source of sources) {
    for (const path of source.watch) {
      const isFolder = path.endsWith('/')
      const folder = isFolder ? path.slice(0, -1) : dirname(path)
      const names: Names = wanted.get(folder) ?? new Map()
      wanted.set(folder, names)
      const name = isFolder ? '' : basename(path)
      names.set(name, (names.get(name) ?? new Set()).add(source))
    }
  }
  return wanted
}
