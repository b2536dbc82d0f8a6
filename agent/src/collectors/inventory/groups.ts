/** Groups of the host and who is in them. Source: group(5). */
import { join } from 'node:path'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { readLines, stampOf } from './bounded-file.ts'
import { Findings, type InventorySource, type Roots } from './source.ts'

const MAX_BYTES = 16 * MiB
const MAX_MEMBERS = 64

export function groupsSource({ root }: Roots, limit: number): InventorySource {
  const path = join(root, 'etc/group')
  return {
    name: 'groups',
    kind: 'groups',
    watch: ['/etc/group'],
    version: () => stampOf(path),
    async read() {
      const found = new Findings(limit)
      const read = await readLines(path, MAX_BYTES)
      if (!read.ok) {
        if (read.code !== 'absent') found.trouble(read.why)
        return found.reading()
      }
      let malformed = 0
      for (const line of read.value) {
        if (line === '' || /^[#+-]/.test(line)) continue
        const [name, , gid, list = ''] = line.split(':')
        if (!name || !gid || !/^\d{1,10}$/.test(gid)) {
          malformed += 1
          continue
        }
        const members = list.split(',').filter(Boolean)
        found.add({
          key: name.slice(0, 512),
          label: `${name} (${gid})${members.length > 0 ? `: ${members.slice(0, 8).join(', ')}` : ''}`,
          facts: {
            name: name.slice(0, 1_024),
            gid,
            members: members.slice(0, MAX_MEMBERS).map((member) => member.slice(0, 256)),
            members_count: members.length,
          },
        })
      }
      if (malformed > 0) found.trouble(`${malformed} lines of /etc/group are no groups`)
      return found.reading()
    },
  }
}
