/** Items of an inventory as events: ECS fields where there are some, the rest in `firebreak.inventory`. */
import type { Event } from '@firebreak/shared/events/event.ts'
import type { InventoryChange, InventoryFacts, InventoryKind } from '@firebreak/shared/events/inventory.ts'
import { present } from '../present.ts'
import type { Item } from './source.ts'

export type Change = Exclude<InventoryChange, 'complete'>
type Fields = Omit<Event, '@timestamp' | 'host' | 'event' | 'firebreak' | 'message'>
type Category = Event['event']['category'][number]
type Types = Event['event']['type']

interface Card {
  readonly category: Category
  /** What the thing is called in `event.action`. */
  readonly words: Readonly<Record<Change, string>>
  readonly types: Readonly<Record<Change, Types>>
  fields(facts: InventoryFacts, item: Item): Fields
}

const PLAIN: Card['types'] = { present: ['info'], added: ['creation'], changed: ['change'], removed: ['deletion'] }
const typesWith = (more: Types[number]): Card['types'] => ({
  present: [more, 'info'],
  added: [more, 'creation'],
  changed: [more, 'change'],
  removed: [more, 'deletion'],
})
const words = (thing: string, added: string, changed: string, removed: string): Card['words'] => ({
  present: `${thing}-present`,
  added: `${thing}-${added}`,
  changed: `${thing}-${changed}`,
  removed: `${thing}-${removed}`,
})

const CARDS: Readonly<Record<InventoryKind, Card>> = {
  host: {
    category: 'host',
    words: words('host-facts', 'added', 'changed', 'removed'),
    types: PLAIN,
    fields: () => ({}),
  },
  packages: {
    category: 'package',
    words: words('package', 'installed', 'updated', 'removed'),
    types: { ...PLAIN, added: ['installation'] },
    fields: (facts) => ({
      package: {
        name: text(facts['name']) ?? '',
        version: text(facts['version']) ?? '',
        ...present({ type: text(facts['type']), architecture: text(facts['architecture']) }),
      },
    }),
  },
  ports: {
    category: 'network',
    words: words('listening-port', 'opened', 'changed', 'closed'),
    types: PLAIN,
    fields: (facts, { process }) => {
      const ip = text(facts['ip']) ?? ''
      const port = facts['port']
      return {
        network: { transport: facts['transport'] === 'udp' ? 'udp' : 'tcp', type: ip.includes(':') ? 'ipv6' : 'ipv4' },
        source: { ip, ...(typeof port === 'number' ? { port } : {}) },
        ...present({ process }),
      }
    },
  },
  users: {
    category: 'iam',
    words: words('user', 'created', 'changed', 'deleted'),
    types: typesWith('user'),
    fields: (facts) => ({
      user: present({ id: text(facts['uid']), name: text(facts['name']) }),
      group: present({ id: text(facts['gid']) }),
    }),
  },
  groups: {
    category: 'iam',
    words: words('group', 'created', 'changed', 'deleted'),
    types: typesWith('group'),
    fields: (facts) => ({ group: present({ id: text(facts['gid']), name: text(facts['name']) }) }),
  },
  sudoers: {
    category: 'iam',
    words: {
      present: 'sudoers-present',
      added: 'sudoers-changed',
      changed: 'sudoers-changed',
      removed: 'sudoers-changed',
    },
    types: PLAIN,
    fields: (facts) => ({ user: present({ name: text(facts['who']) }), ...fileOf(facts) }),
  },
  'ssh-keys': {
    category: 'iam',
    words: words('ssh-key', 'added', 'changed', 'removed'),
    types: typesWith('user'),
    fields: (facts) => ({ ...present({ user: userOf(facts) }), ...fileOf(facts) }),
  },
  'cron-jobs': {
    category: 'configuration',
    words: words('cron-job', 'added', 'changed', 'removed'),
    types: PLAIN,
    fields: (facts) => ({ ...present({ user: userOf(facts) }), ...fileOf(facts) }),
  },
  units: {
    category: 'configuration',
    words: words('unit', 'added', 'changed', 'removed'),
    types: PLAIN,
    fields: (facts) => ({
      service: present({ name: text(facts['name']), state: text(facts['enabled']) }),
      ...(text(facts['path']) === undefined ? {} : { file: { path: text(facts['path']) ?? '' } }),
    }),
  },
  modules: {
    category: 'driver',
    words: words('module', 'loaded', 'changed', 'unloaded'),
    types: { present: ['info'], added: ['start'], changed: ['change'], removed: ['end'] },
    fields: () => ({}),
  },
  mounts: {
    category: 'configuration',
    words: words('mount', 'added', 'changed', 'removed'),
    types: PLAIN,
    fields: (facts) => ({ file: { path: text(facts['target']) ?? '', type: 'dir' } }),
  },
  containers: {
    category: 'host',
    words: words('container', 'added', 'changed', 'removed'),
    types: PLAIN,
    fields: (facts) => ({ container: present({ id: text(facts['id']) }) }),
  },
}

/** Without time and host. `before`: the item as it was, of a change. */
export function itemEvent(
  kind: InventoryKind,
  change: Change,
  item: Item,
  more: { readonly before?: InventoryFacts | undefined; readonly snapshot?: string } = {},
): Omit<Event, '@timestamp' | 'host'> {
  const card = CARDS[kind]
  const before = change === 'changed' && more.before ? differing(more.before, item.facts) : undefined
  const was = before && Object.keys(before).length > 0 ? `; before: ${textOfFacts(before)}` : ''
  return {
    event: {
      kind: 'state',
      category: [card.category],
      type: card.types[change],
      action: actionOf(kind, card, change, before, item.facts),
      dataset: 'firebreak.inventory',
      provider: 'inventory',
    },
    ...card.fields(item.facts, item),
    message: `${item.label}${was}`.slice(0, 2_048),
    firebreak: {
      inventory: {
        kind,
        change,
        key: item.key,
        item: { ...item.facts, ...item.loose },
        ...present({ before, snapshot: more.snapshot }),
      },
    },
  }
}

/** The end of a whole telling of one kind. */
export function completeEvent(
  kind: InventoryKind,
  told: { readonly snapshot: string; readonly items: number; readonly troubles: readonly string[] },
): Omit<Event, '@timestamp' | 'host'> {
  const { snapshot, items, troubles } = told
  return {
    event: {
      kind: 'state',
      category: [CARDS[kind].category],
      type: ['info'],
      action: 'inventory-complete',
      dataset: 'firebreak.inventory',
      provider: 'inventory',
      ...(troubles.length > 0 ? { reason: troubles.join('; ').slice(0, 4_096) } : {}),
    },
    firebreak: { inventory: { kind, change: 'complete', snapshot, items, is_whole: troubles.length === 0 } },
  }
}

/** Whether a unit is started by itself is what most looks at units are about. */
function actionOf(
  kind: InventoryKind,
  card: Card,
  change: Change,
  before: InventoryFacts | undefined,
  after: InventoryFacts,
): string {
  if (kind !== 'units' || change !== 'changed' || before?.['enabled'] === undefined) return card.words[change]
  const isOn = (state: unknown) => typeof state === 'string' && state.startsWith('enabled')
  if (isOn(before['enabled']) === isOn(after['enabled'])) return card.words[change]
  return isOn(after['enabled']) ? 'unit-enabled' : 'unit-disabled'
}

function differing(before: InventoryFacts, after: InventoryFacts): InventoryFacts {
  return Object.fromEntries(
    Object.entries(before).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(after[name])),
  )
}

function textOfFacts(facts: InventoryFacts): string {
  return Object.entries(facts)
    .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(', ') : String(value)}`)
    .join('; ')
    .slice(0, 1_024)
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function userOf(facts: InventoryFacts): Fields['user'] {
  const name = text(facts['user'])
  return name === undefined ? undefined : { name }
}

function fileOf(facts: InventoryFacts): Fields {
  const path = text(facts['file'])
  return path === undefined ? {} : { file: { path } }
}
