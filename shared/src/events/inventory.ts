/** What a host is made of, as the agent tells it and the controller keeps it. ECS has no words for most of it. */
import { Type } from 'typebox'

export const INVENTORY_KINDS = [
  'host',
  'packages',
  'ports',
  'users',
  'groups',
  'sudoers',
  'ssh-keys',
  'cron-jobs',
  'units',
  'modules',
  'mounts',
  'containers',
] as const
export type InventoryKind = (typeof INVENTORY_KINDS)[number]

/** present: it is there, as part of a whole telling; added, changed, removed: a difference; complete: a whole telling of this kind ends. */
export const INVENTORY_CHANGES = ['present', 'added', 'changed', 'removed', 'complete'] as const
export type InventoryChange = (typeof INVENTORY_CHANGES)[number]

export function isInventoryKind(text: string): text is InventoryKind {
  return (INVENTORY_KINDS as readonly string[]).includes(text)
}

/** Longest key and longest value of a fact, in UTF-16 units. */
export const INVENTORY_LIMITS = { key: 512, value: 2_048, facts: 32, list: 64 } as const

const value = (description: string) => Type.String({ maxLength: INVENTORY_LIMITS.value, description })
const facts = (description: string) =>
  Type.Record(
    Type.String({ pattern: '^[a-z][a-z0-9_]{0,39}$' }),
    Type.Union([
      value('Text.'),
      Type.Number({ description: 'A number; the name says its unit.' }),
      Type.Boolean({ description: 'Yes or no.' }),
      Type.Array(value('One of several.'), { maxItems: INVENTORY_LIMITS.list, description: 'Several texts.' }),
    ]),
    { maxProperties: INVENTORY_LIMITS.facts, additionalProperties: false, description },
  )

const Facts = facts('What is known of it.')
export type InventoryFacts = Type.Static<typeof Facts>

export const Inventory = Type.Object(
  {
    kind: Type.Enum([...INVENTORY_KINDS], { description: 'What kind of thing it is.' }),
    change: Type.Enum([...INVENTORY_CHANGES], {
      description:
        'present: it is there, part of a whole telling; added, changed, removed: a difference; complete: the whole telling ends.',
    }),
    key: Type.Optional(
      Type.String({ maxLength: INVENTORY_LIMITS.key, description: 'Stays the same as long as it is the same thing.' }),
    ),
    item: Type.Optional(Facts),
    before: Type.Optional(facts('What differs, as it was before.')),
    snapshot: Type.Optional(
      Type.String({ maxLength: 64, description: 'Of present and complete: which whole telling it belongs to.' }),
    ),
    items: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 10_000_000, description: 'Of complete: how many were told.' }),
    ),
    is_whole: Type.Optional(
      Type.Boolean({ description: 'Of complete: whether all of it could be read; `event.reason` says why not.' }),
    ),
  },
  { additionalProperties: false, description: 'A part of the inventory of the host.' },
)
