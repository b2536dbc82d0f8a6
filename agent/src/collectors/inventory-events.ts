/** What a host is, as events: `kind: state` the first time, then what came, changed and went. */
import type { Event } from '@firebreak/shared/events/event.ts'
import type { Account, Group } from './accounts.ts'
import type { InstalledPackage } from './packages.ts'
import { present } from './present.ts'

export type Change = 'present' | 'added' | 'changed' | 'removed'

/** One thing that is counted in an inventory: `key` says which, `value` differs when it changed. */
export interface Item {
  readonly key: string
  readonly value: string
  event(change: Change): Omit<Event, '@timestamp' | 'host'>
}

const TYPE_OF: { readonly [C in Change]: Event['event']['type'][number] } = {
  present: 'info',
  added: 'creation',
  changed: 'change',
  removed: 'deletion',
}

export function packageItem(found: InstalledPackage): Item {
  const { name, version, type, architecture } = found
  return {
    key: `package|${type}|${name}|${architecture ?? ''}`,
    value: version,
    event: (change) => ({
      event: head('package', change === 'added' ? ['installation'] : [TYPE_OF[change]], 'package', change),
      package: { name, version, type, ...present({ architecture }) },
    }),
  }
}

export function accountItem({ name, uid, gid, home, shell }: Account): Item {
  return {
    key: `account|${name}`,
    value: `${uid}:${gid}:${home}:${shell}`,
    event: (change) => ({
      event: head('iam', ['user', TYPE_OF[change]], 'account', change),
      user: { id: uid, name },
      group: { id: gid },
      message: `home ${home}, shell ${shell}`,
    }),
  }
}

export function groupItem({ name, gid, members }: Group): Item {
  return {
    key: `group|${name}`,
    value: `${gid}:${members.join(',')}`,
    event: (change) => ({
      event: head('iam', ['group', TYPE_OF[change]], 'group', change),
      group: { id: gid, name },
      message: members.length > 0 ? `members ${members.join(', ')}` : 'no members',
    }),
  }
}

export interface ListeningPort {
  readonly transport: 'tcp' | 'udp'
  readonly ip: string
  readonly port: number
  readonly process: Event['process']
}

export function listeningItem({ transport, ip, port, process }: ListeningPort): Item {
  return {
    key: `listening|${transport}|${ip}|${port}`,
    value: process?.executable ?? '',
    event: (change) => ({
      event: head('network', [TYPE_OF[change]], 'listening-port', change),
      network: { transport, type: ip.includes(':') ? 'ipv6' : 'ipv4' },
      source: { ip, port },
      ...present({ process }),
    }),
  }
}

/** A host says everything about itself again when one thing changed. */
export function hostItem(host: NonNullable<Event['host']>): Item {
  const { uptime: _uptime, ...lasting } = host
  return {
    key: 'host',
    value: JSON.stringify(lasting),
    event: (change) => ({ event: head('host', [TYPE_OF[change]], 'host-facts', change) }),
  }
}

function head(
  category: Event['event']['category'][number],
  type: Event['event']['type'],
  thing: string,
  change: Change,
): Event['event'] {
  return {
    kind: change === 'present' ? 'state' : 'event',
    // Of the inventory class whatever it is about: a listed port is no connection.
    category: category === 'network' && change !== 'present' ? ['configuration'] : [category],
    type,
    action: `${thing}-${change}`,
    dataset: 'firebreak.inventory',
  }
}
