/**
 * Containers, by what their engines keep on disk: no engine is asked, so none has to be trusted, and one that hangs does not matter.
 * Docker: /var/lib/docker/containers; podman and CRI-O: containers/storage; containerd: its running tasks; systemd: its machines.
 */
import { join } from 'node:path'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { containerdTask, dockerContainer, isRecord, storageContainers, systemdMachine } from './container-state.ts'
import { listFolder, readBounded, stampOf, stampOfFolder } from './bounded-file.ts'
import { Findings, type InventorySource, type Item, type Roots } from './source.ts'

const DOCKER = '/var/lib/docker/containers'
const STORAGE = '/var/lib/containers/storage/overlay-containers'
const CONTAINERD = '/run/containerd/io.containerd.runtime.v2.task'
const MACHINES = '/run/systemd/machines'
const MAX_BYTES = 4 * MiB
const MAX_CONTAINERS = 2_000

export function containersSource({ root }: Roots, limit: number): InventorySource {
  const at = (...parts: string[]) => join(root, ...parts)
  return {
    name: 'containers',
    kind: 'containers',
    watch: [`${DOCKER}/`, `${STORAGE}/`, `${MACHINES}/`],
    fast: true,
    async version() {
      const ids = (await listFolder(at(DOCKER), MAX_CONTAINERS)).names
      const docker = await Promise.all(ids.map((id) => stampOf(at(DOCKER, id, 'config.v2.json'))))
      const spaces = (await listFolder(at(CONTAINERD), 100)).names
      const tasks = spaces.map((space) => stampOfFolder(at(CONTAINERD, space), MAX_CONTAINERS))
      const machines = stampOfFolder(at(MACHINES), MAX_CONTAINERS)
      return [...docker, await stampOf(at(STORAGE, 'containers.json')), ...tasks, machines].join('|')
    },
    async read() {
      const found = new Findings(limit)
      const read = new ContainerReader(root, found)
      for (const id of await read.names(DOCKER)) {
        const config = await read.json(join(DOCKER, id, 'config.v2.json'))
        if (config !== undefined)
          read.add(dockerContainer(config, await read.json(join(DOCKER, id, 'hostconfig.json'))), `docker ${id}`)
      }
      const storage = await read.json(join(STORAGE, 'containers.json'))
      for (const item of storage === undefined ? [] : storageContainers(storage)) found.add(item)
      // Docker's own tasks are told above, with their names.
      for (const space of await read.names(CONTAINERD))
        for (const id of space === 'moby' ? [] : await read.names(join(CONTAINERD, space))) {
          const spec = await read.json(join(CONTAINERD, space, id, 'config.json'))
          if (spec !== undefined) read.add(containerdTask(space, id, spec), `containerd ${id}`)
        }
      for (const name of await read.names(MACHINES)) {
        const text = await read.text(join(MACHINES, name))
        if (text !== undefined && !name.startsWith('unit:')) read.add(systemdMachine(name, text), `machine ${name}`)
      }
      return found.reading()
    },
  }
}

class ContainerReader {
  readonly #root: string
  readonly #found: Findings

  constructor(root: string, found: Findings) {
    this.#root = root
    this.#found = found
  }

  add(item: Item | undefined, what: string): void {
    if (item) this.#found.add(item)
    else this.#found.trouble(`the state of ${what} cannot be understood`)
  }

  async names(folder: string): Promise<readonly string[]> {
    const { names, why } = await listFolder(join(this.#root, folder), MAX_CONTAINERS)
    if (why !== undefined) this.#found.trouble(why)
    return names
  }

  async text(path: string): Promise<string | undefined> {
    const read = await readBounded(join(this.#root, path), MAX_BYTES)
    if (read.ok) return read.value.toString('utf8')
    if (read.code !== 'absent') this.#found.trouble(read.why)
    return undefined
  }

  async json(path: string): Promise<unknown> {
    const text = await this.text(path)
    if (text === undefined) return undefined
    try {
      const value: unknown = JSON.parse(text)
      if (isRecord(value) || Array.isArray(value)) return value
    } catch {
      // Told below, with everything else that is no state.
    }
    this.#found.trouble(`${path} is no JSON`)
    return undefined
  }
}
