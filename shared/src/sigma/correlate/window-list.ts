/** Windows in the order in which they were touched last, oldest first; taking one out or moving one to the end costs the same however many there are. */
import type { Window } from './window.ts'

type Link = { readonly older: 'older' | 'olderOfAll'; readonly newer: 'newer' | 'newerOfAll' }
export const OF_RULE: Link = { older: 'older', newer: 'newer' }
export const OF_ALL: Link = { older: 'olderOfAll', newer: 'newerOfAll' }

export class WindowList {
  readonly #link: Link
  #oldest: Window | undefined
  #newest: Window | undefined

  constructor(link: Link) {
    this.#link = link
  }

  get oldest(): Window | undefined {
    return this.#oldest
  }

  append(window: Window): void {
    const { older, newer } = this.#link
    window[older] = this.#newest
    window[newer] = undefined
    if (this.#newest === undefined) this.#oldest = window
    else this.#newest[newer] = window
    this.#newest = window
  }

  remove(window: Window): void {
    const { older, newer } = this.#link
    const before = window[older]
    const after = window[newer]
    if (before === undefined) this.#oldest = after
    else before[newer] = after
    if (after === undefined) this.#newest = before
    else after[older] = before
    window[older] = undefined
    window[newer] = undefined
  }

  touch(window: Window): void {
    if (window === this.#newest) return
    this.remove(window)
    this.append(window)
  }
}
