/** `firebreak events fields`: what can be searched by. */
import type { Command } from 'commander'
import type { EventField } from '../api/events.ts'
import { printList } from './output.ts'
import { type Cli, verb } from './session.ts'

export function addEventFieldsVerb(cli: Cli, events: Command): void {
  verb(
    cli,
    events,
    'fields [part]',
    'the fields that can be searched by; with PART those whose name or description has it',
    async ({ api, io, format }, [part = '']) => {
      const { items } = await api.get<{ items: EventField[] }>('/api/v1/events/fields')
      const wanted = part.toLowerCase()
      const rows = items.filter(
        ({ name, description }) => name.includes(wanted) || description.toLowerCase().includes(wanted),
      )
      printList(io, format, rows, {
        columns: [
          { head: 'FIELD', cell: ({ name }) => name },
          { head: 'TYPE', cell: ({ type }) => type },
          { head: 'SPEED', cell: ({ fast }) => (fast ? 'fast' : 'slow') },
          { head: 'DESCRIPTION', cell: ({ description }) => description, flexible: true },
        ],
        raw: ({ name }) => name,
        empty: `No field has ${part} in its name or description. All: firebreak events fields`,
      })
    },
  ).addHelpText(
    'after',
    `
keyword  the whole value, without case; * stands for any text
text     its words, in any order; a "phrase" as it stands
id       the whole value, exactly as it is written
number, date, ip   also by > >= < <=; ip also by blocks such as 10.0.0.0/8
slow fields are read out of the text of each event: narrow the time or the host first`,
  )
}
