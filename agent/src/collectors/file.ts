/**
 * Changes below the watched paths, by chokidar (inotify on Linux). Which process did it is not known here. Blind to: files that come
 * and go within one scan, names that are no UTF-8 (counted as lost), modes of the watched folders themselves.
 */
import { existsSync, lstatSync, type Stats } from 'node:fs'
import type { Static } from 'typebox'
import type { FSWatcher } from 'chokidar'
import type { Clock } from '@firebreak/shared/clock.ts'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import type { Blindness, Collector, CollectorHealth, Emit } from './collector.ts'
import type { FileConfig } from './collectors-config.ts'
import { EmitTally } from './emit-tally.ts'
import { FileDigests } from './file-digests.ts'
import { type FileAction, type FileState, fileEvent, fileStateOf, octalMode } from './file-events.ts'
import { PollLoop } from './poll-loop.ts'
import type { Sources } from './sources.ts'
import { Standby } from './standby.ts'
import { createPathFilter, expandPath } from './watched-paths.ts'

/** How often patterns such as /home/* are looked up again. */
const EXPAND_MS = 30_000
/** Between two looks while another source tells files: there is nothing to look at. */
const STANDBY_MS = 600_000

export interface FileDeps {
  readonly clock: Clock
  readonly hostName: string
  readonly root: string
  readonly sources: Sources
}

export function createFileCollector(deps: FileDeps, config: Static<typeof FileConfig>): Collector {
  return new FileCollector(deps, config)
}

class FileCollector implements Collector {
  readonly name = 'file'
  readonly classes = ['file'] as const
  readonly source = 'polling'
  readonly #deps: FileDeps
  readonly #config: Static<typeof FileConfig>
  readonly #out = new EmitTally()
  readonly #digests: FileDigests
  readonly #isExcluded: (path: string) => boolean
  readonly #watched = new Set<string>()
  readonly #admitted = new Set<string>()
  readonly #known = new Map<string, FileState>()
  readonly #pathOfInode = new Map<string, string>()
  /** Files that went away and may come back under another name: path to when it is too late for that, monotonic ms. */
  readonly #goneUntil = new Map<string, { readonly state: FileState; readonly at: string; readonly dueMs: number }>()
  readonly #expandLoop: PollLoop
  readonly #goneLoop: PollLoop
  readonly #standby: Standby
  readonly #telling = new Set<Promise<void>>()
  #watcher: FSWatcher | undefined
  #isReady = false
  #refusedPaths = 0
  #errors = new Set<string>()

  constructor(deps: FileDeps, config: Static<typeof FileConfig>) {
    this.#deps = deps
    this.#config = config
    this.#digests = new FileDigests(config.hash_max_bytes)
    this.#isExcluded = createPathFilter(config.exclude, deps.root)
    const whenOn = (ms: number) => () => (this.#isReady ? ms : STANDBY_MS)
    this.#expandLoop = new PollLoop(deps.clock, whenOn(EXPAND_MS), () => this.#watchNew())
    const goneMs = Math.max(20, config.rename_window_ms / 2)
    this.#goneLoop = new PollLoop(deps.clock, whenOn(goneMs), () => this.#tellGone())
    this.#standby = new Standby(
      () => !deps.sources.hasBetter('file', this.source),
      () => this.#watch(),
      () => this.#unwatch(),
      (error) => this.#note(error),
    )
    deps.sources.onChange((eventClass) => {
      if (eventClass === 'file') this.#standby.changed()
    })
  }

  async canRun(): Promise<Result<void, Blindness>> {
    if (!this.#config.enabled) return refuse('switched_off', 'collectors.file.enabled is false')
    const paths = this.#paths()
    return paths.some((path) => existsSync(path))
      ? ok()
      : refuse('missing_source', `none of the watched paths exists: ${this.#config.paths.join(', ')}`.slice(0, 512))
  }

  /** Resolves when every file that is there is known: what changes afterwards is told. While a better source tells files it watches none. */
  async start(emit: Emit): Promise<void> {
    this.#out.open(emit)
    await this.#standby.start()
    this.#expandLoop.start()
    this.#goneLoop.start()
  }

  async #watch(): Promise<void> {
    const { watch } = await import('chokidar')
    const paths = this.#paths()
    for (const path of paths) this.#watched.add(path)
    const watcher = watch(paths, {
      alwaysStat: true,
      atomic: false,
      depth: this.#config.max_depth,
      followSymlinks: false,
      ignoreInitial: false,
      ignorePermissionErrors: false,
      ignored: (path, stats) => this.#isIgnored(path, stats),
    })
    this.#watcher = watcher
    watcher.on('error', (error) => this.#note(error))
    watcher.on('raw', (_, path) => this.#countUnreadable(path))
    watcher.on('all', (event, path, stats) => this.#take(event, path, stats))
    await new Promise<void>((resolve) => watcher.once('ready', () => resolve()))
    this.#isReady = true
    this.#expandLoop.wake()
    this.#goneLoop.wake()
  }

  async #unwatch(): Promise<void> {
    const watcher = this.#watcher
    this.#watcher = undefined
    this.#isReady = false
    for (const memory of [this.#watched, this.#admitted, this.#known, this.#pathOfInode, this.#goneUntil])
      memory.clear()
    await watcher?.close()
  }

  async stop(): Promise<void> {
    this.#out.close()
    this.#digests.stop()
    await Promise.all([this.#standby.stop(), this.#expandLoop.stop(), this.#goneLoop.stop()])
    await Promise.all(this.#telling)
  }

  health(): CollectorHealth {
    if (!this.#out.isOpen) return this.#out.health('off', 'not started')
    if (!this.#standby.isOn) return this.#out.health('running', 'stands by: a better source tells files')
    const troubles: string[] = [...this.#errors]
    if (this.#refusedPaths > 0) {
      troubles.push(`max_files (${this.#config.max_files}) is reached: ${this.#refusedPaths} paths are not watched`)
    }
    const loop = this.#expandLoop.trouble ?? this.#goneLoop.trouble
    if (loop !== undefined) troubles.push(loop)
    return troubles.length > 0
      ? this.#out.health('degraded', troubles.join('; '))
      : this.#out.health('running', undefined)
  }

  #paths(): string[] {
    return this.#config.paths.flatMap((pattern) => expandPath(pattern, this.#deps.root))
  }

  #watchNew(): void {
    if (!this.#isReady) return
    const added = this.#paths().filter((path) => !this.#watched.has(path))
    if (added.length === 0) return
    for (const path of added) this.#watched.add(path)
    this.#watcher?.add(added)
  }

  /** Asked twice a path: without and with its stat. Past the limit only what is known already stays. */
  #isIgnored(path: string, stats: Stats | undefined): boolean {
    if (this.#isExcluded(path)) return true
    if (!stats || this.#admitted.has(path)) return false
    if (this.#admitted.size >= this.#config.max_files) {
      this.#refusedPaths += 1
      return true
    }
    this.#admitted.add(path)
    return false
  }

  #take(event: string, path: string, stats: Stats | undefined): void {
    try {
      if (event === 'unlink' || event === 'unlinkDir') this.#takeGone(path)
      else if (stats) this.#takeSeen(path, fileStateOf(stats))
    } catch (error) {
      this.#note(error)
    }
  }

  #takeSeen(path: string, state: FileState): void {
    const before = this.#known.get(path)
    const renamedFrom = before?.ino === state.ino ? undefined : this.#renamedFrom(path, state)
    this.#remember(path, state)
    if (!this.#isReady) return
    if (renamedFrom !== undefined) this.#tell('file-renamed', path, state, { previous: { path: renamedFrom } })
    else if (!before) this.#tell('file-created', path, state)
    else this.#tellChanges(path, before, state)
  }

  #tellChanges(path: string, before: FileState, state: FileState): void {
    if (before.mode !== state.mode) {
      this.#tell('file-mode-changed', path, state, { previous: { mode: octalMode(before.mode) } })
    }
    if (before.uid !== state.uid || before.gid !== state.gid) this.#tell('file-owner-changed', path, state)
    // A folder's time moves with every entry in it, which is told by itself.
    const isFolder = (state.mode & 0o170000) === 0o040000
    if (isFolder) return
    if (before.ino !== state.ino || before.size !== state.size || before.mtimeMs !== state.mtimeMs) {
      this.#tell('file-written', path, state)
    }
  }

  /** Where this inode was before, if it is not there any more. */
  #renamedFrom(path: string, state: FileState): string | undefined {
    const earlier = this.#pathOfInode.get(inodeKey(state))
    if (earlier === undefined || earlier === path) return undefined
    const gone = this.#goneUntil.get(earlier)
    if (gone) return sameFile(gone.state, state) && this.#goneUntil.delete(earlier) ? earlier : undefined
    const now = lstatSync(earlier, { throwIfNoEntry: false })
    if (now?.ino === state.ino) return undefined
    // The unlink is still to come; it must not be told as a deletion.
    this.#forget(earlier)
    return earlier
  }

  #takeGone(path: string): void {
    const state = this.#known.get(path)
    this.#admitted.delete(path)
    if (!state) return
    this.#known.delete(path)
    const dueMs = this.#deps.clock.monotonic() + this.#config.rename_window_ms
    if (this.#isReady) this.#goneUntil.set(path, { state, at: this.#nowIso(), dueMs })
    else this.#forget(path)
  }

  #tellGone(): void {
    if (this.#goneUntil.size === 0) return
    const nowMs = this.#deps.clock.monotonic()
    for (const [path, { state, at, dueMs }] of this.#goneUntil) {
      // In order of going: the rest is younger.
      if (dueMs > nowMs) return
      this.#goneUntil.delete(path)
      if (this.#pathOfInode.get(inodeKey(state)) === path) this.#pathOfInode.delete(inodeKey(state))
      this.#out.event(fileEvent('file-deleted', at, path, state, this.#deps.hostName))
    }
  }

  #remember(path: string, state: FileState): void {
    this.#known.set(path, state)
    this.#pathOfInode.set(inodeKey(state), path)
  }

  #forget(path: string): void {
    const state = this.#known.get(path)
    this.#known.delete(path)
    this.#admitted.delete(path)
    if (state && this.#pathOfInode.get(inodeKey(state)) === path) this.#pathOfInode.delete(inodeKey(state))
  }

  #tell(action: FileAction, path: string, state: FileState, extra: Parameters<typeof fileEvent>[5] = {}): void {
    const at = this.#nowIso()
    const isRegular = (state.mode & 0o170000) === 0o100000
    const telling = (async () => {
      const sha256 = isRegular ? await this.#digests.of(path, state.ino, state.size) : undefined
      this.#out.event(fileEvent(action, at, path, state, this.#deps.hostName, { ...extra, sha256 }))
    })().finally(() => this.#telling.delete(telling))
    this.#telling.add(telling)
  }

  /** Node gives names as UTF-8; what is none cannot be looked at, so it is known only that something happened. */
  #countUnreadable(path: unknown): void {
    if (this.#isReady && typeof path === 'string' && path.includes('\uFFFD')) this.#out.lost('file', 1)
  }

  #note(error: unknown): void {
    if (this.#errors.size < 4) this.#errors.add(reasonOf(error))
  }

  #nowIso(): string {
    return new Date(this.#deps.clock.now()).toISOString()
  }
}

function inodeKey(state: FileState): string {
  return `${state.dev}:${state.ino}`
}

/** An inode is given away again as soon as it is free; the times tell a rename from that. */
function sameFile(before: FileState, after: FileState): boolean {
  return before.birthtimeMs === after.birthtimeMs || (before.size === after.size && before.mtimeMs === after.mtimeMs)
}
