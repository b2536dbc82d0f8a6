/** Kernel modules that are loaded. Source: /proc/modules, proc(5): name, size, references, users, state, address, taints. */
import { join } from 'node:path'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { present } from '../present.ts'
import { readLines } from './bounded-file.ts'
import { Findings, type InventorySource } from './source.ts'

const MAX_BYTES = 4 * MiB

export function modulesSource(procRoot: string, limit: number): InventorySource {
  const path = join(procRoot, 'modules')
  let modules: readonly Module[] = []
  let why: string | undefined
  return {
    name: 'modules',
    kind: 'modules',
    watch: [],
    fast: true,
    async version() {
      const read = await readLines(path, MAX_BYTES)
      modules = read.ok ? read.value.flatMap((line) => parseModule(line) ?? []) : []
      why = read.ok || read.code === 'absent' ? undefined : read.why
      return modules.map(({ name, size, taints }) => `${name} ${size} ${taints ?? ''}`).join('\n')
    },
    async read() {
      const found = new Findings(limit)
      if (why !== undefined) found.trouble(why)
      for (const { name, size, taints } of modules)
        found.add({
          key: name,
          label: taints === undefined ? name : `${name} (${taints})`,
          facts: { name, size_bytes: size, ...present({ taints }) },
        })
      return found.reading()
    },
  }
}

interface Module {
  readonly name: string
  readonly size: number
  /** Such as `OE`: built out of tree, not signed. */
  readonly taints: string | undefined
}

function parseModule(line: string): Module | undefined {
  const [, name, size, taints] = /^(\S{1,256}) (\d{1,12}) -?\d+ \S+ \S+ \S+(?: \(([A-Z+-]{1,16})\))?$/.exec(line) ?? []
  // While it comes or goes a `+` or `-` stands behind the taints.
  return name === undefined
    ? undefined
    : { name, size: Number(size), taints: taints?.replace(/[+-]$/, '') || undefined }
}
