/** `firebreak events`: facts from hosts, and what is asked of them most. */
import type { Command } from 'commander'
import { addEventExportVerb } from './events-export.ts'
import { addEventFieldsVerb } from './events-fields.ts'
import { addImportVerb } from './events-import.ts'
import { addEventSearchVerb } from './events-search.ts'
import { addEventSeenVerb } from './events-seen.ts'
import { addEventTreeVerb } from './events-tree.ts'
import type { Cli } from './session.ts'

export function addEventVerbs(cli: Cli, program: Command): void {
  const events = program.command('events').description('facts from hosts').addHelpText('after', GUIDE)
  addEventSearchVerb(cli, events)
  addEventTreeVerb(cli, events)
  addEventSeenVerb(cli, events)
  addEventExportVerb(cli, events)
  addEventFieldsVerb(cli, events)
  addImportVerb(cli, events)
}

const GUIDE = `
The three questions, one command each:
  firebreak events seen 203.0.113.9        who talked to this address; also a domain, a hash, a program
  firebreak events tree web-1 4242         what this process came from, started, touched, talked to
  firebreak events search 'process.hash.sha256:9f86d081*' --since 30d      where this hash ran

Queries are written as in Kibana (KQL):
  process.name:curl                           a field and its value, in any case
  process.name:(curl or wget)                 one of several
  process.name:cur*                           * is any text, in names too: process.*:curl
  process.command_line:"curl -s"              a phrase, between word boundaries
  process.command_line:curl http              both words, in any order
  destination.port >= 1024                    > >= < <= on numbers, times and addresses
  destination.ip:10.0.0.0/8                   a block; IPv6 in quotes: "2001:db8::/32"
  @timestamp >= now-1h                        now-7d/d, 2026-11-24, "2026-11-24T12:00:00Z"
  process.exit_code:*                         the field is there
  evil.sh                                     no field: command lines, paths, domains, hashes ...
  process.name:curl and not user.name:root    not binds first, then and, then or; ( )

  A value that holds : ( ) < > { } " or * is put in double quotes; in quotes * is a star, and \\" a quote.
  Quote the whole query for your shell with single quotes.

Times (--since, --until): 15m, 7d (ago), now-1d/d, 2026-11-24, 2026-11-24T12:00Z.
Without a zone they are UTC; a day means all of it.`
