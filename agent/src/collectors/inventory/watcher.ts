/** Says at once that something happened where a source is written down; looking every minute stays behind it, for what cannot be watched. */
import { type FSWatcher, watch } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { InventorySource } from './source.ts'

const MAX_FOLDERS = 256

interface Folder {
  readonly watcher: FSWatcher
}

export class SourceWatcher {
  readonly #root: string
  readonly #changed: (source: InventorySource) => void
  readonly #folders = new Map<string, Folder>()
  /** Folder → file name, or '' for any → sources. */
  readonly #wanted = new Map<string, Map<string, Set<InventorySource>>>()

  constructor(root: string, sources: readonly InventorySource[], changed: (source: InventorySource) => void) {
    this.#root = root
    this.#changed = changed
    for (const source of sources) {
      for (const path of source.watch) {
        const isFolder = path.endsWith('/')
        const folder = isFolder ? path.slice(0, -1) : dirname(path)
        const names = this.#wanted.get(folder) ?? new Map<string, Set<InventorySource>>()
        this.#wanted.set(folder, names)
        const name = isFolder ? '' : basename(path)
        names.set(name, (names.get(name) ?? new Set()).add(source))
      }
    }
  }

  /** Watches what is there and not yet watched; a folder that comes later is found at a later call. */
  arm(): void {
    for (const [folder, names] of this.#wanted) {
      if (this.#folders.has(folder) || this.#folders.size >= MAX_FOLDERS) continue
      try {
        const watcher = watch(join(this.#root, folder), { persistent: false }, (_what, name) =>
          this.#happened(names, name),
        )
        watcher.on('error', () => this.#drop(folder))
        this.#folders.set(folder, { watcher })
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
    this.#folders.get(folder)?.watcher.close()
    this.#folders.delete(folder)
  }

  #happened(names: ReadonlyMap<string, ReadonlySet<InventorySource>>, name: string | null): void {
    const sources = new Set([...(names.get('') ?? []), ...(name === null ? [] : (names.get(name) ?? []))])
    for (const source of sources) this.#changed(source)
  }
}
