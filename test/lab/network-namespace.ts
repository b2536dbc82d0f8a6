import { join } from 'node:path'
import type { Territory } from './territory.ts'

/** A network namespace held by a file of the lab (a mount in the lab's mount namespace, so it ends with the lab). */
export class NetworkNamespace {
  readonly path: string
  readonly #territory: Territory

  private constructor(territory: Territory, path: string) {
    this.#territory = territory
    this.path = path
  }

  static async create(territory: Territory, name: string): Promise<NetworkNamespace> {
    const path = join(territory.directory, 'ns', name)
    await territory.exec(['touch', path])
    await territory.exec(['unshare', `--net=${path}`, 'true'])
    return new NetworkNamespace(territory, path)
  }

  /** Lets go of it: with the last process inside gone, its rules, routes and connections are gone too. */
  async release(): Promise<void> {
    await this.#territory.exec(['umount', this.path])
    await this.#territory.exec(['rm', '-f', this.path])
  }
}
