/** What is looked for, and which rules are not, with the reason. */
import { EVENT_CLASSES } from '@firebreak/shared/events/classes.ts'
import { Type } from 'typebox'
import type { RuleStatus } from '../detect/index.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { decodeCursor, PAGE, pageFrom, pageOf, pageQuery } from './paging.ts'
import { closed, Count, orNull, Texts } from './schemas.ts'

const Rule = closed(
  {
    id: Type.String(),
    title: Type.String(),
    level: Type.String(),
    file: Type.String({ description: 'Relative to the folder of rules.' }),
    techniques: Texts('ATT&CK technique ids.'),
    classes: Type.Array(Type.Enum([...EVENT_CLASSES]), { description: 'Of events that it looks at.' }),
    state: Type.Enum(['live', 'refused']),
    why: orNull(Type.String({ description: 'Why it was refused.' })),
    matches: Count('Since the controller started.'),
    last_match_at: orNull(Type.String()),
    correlation: orNull(
      closed(
        {
          windows: Count('Groups that it remembers.'),
          events: Count('Events that it remembers.'),
          evicted_windows: Count('Groups that it had to forget for want of room.'),
          evicted_events: Count('Events that it had to forget for want of room.'),
          late: Count('Events that came too late to be counted.'),
          uncounted: Count('Events without the value that it counts.'),
        },
        'Of a correlation that runs: its memory, and what it could not count since the controller started.',
      ),
    ),
  },
  'A rule.',
)

export type RuleShown = Type.Static<typeof Rule>

export function ruleRoutes(api: Api, { rules }: Pick<ApiDeps, 'rules'>): void {
  api.get(
    '/api/v1/rules',
    {
      schema: {
        tags: ['rules'],
        summary: 'List rules with their health',
        querystring: closed({ ...pageQuery, state: Type.Optional(Type.Enum(['live', 'refused'])) }, 'Query.'),
        response: { 200: pageOf(Rule) },
      },
    },
    async ({ query }) => {
      const limit = query.limit ?? PAGE.default
      const after = decodeCursor('rules', query.cursor)
      const wanted = rules
        .ruleList()
        .filter((rule) => query.state === undefined || rule.state === query.state)
        .map((rule) => ({ rule, key: `${rule.file}\0${rule.id}` }))
        .filter(({ key }) => after === undefined || key > after)
        .toSorted((a, b) => (a.key < b.key ? -1 : 1))
      return pageFrom(
        'rules',
        wanted,
        limit,
        ({ key }) => key,
        ({ rule: { lastMatchAt, correlation, ...rule } }) => ({
          ...rule,
          correlation: correlation === null ? null : shownFigures(correlation),
          techniques: [...rule.techniques],
          classes: [...rule.classes],
          last_match_at: lastMatchAt,
        }),
      )
    },
  )
}

function shownFigures(figures: NonNullable<RuleStatus['correlation']>): NonNullable<RuleShown['correlation']> {
  const { windows, events, evictedWindows, evictedEvents, late, uncounted } = figures
  return { windows, events, evicted_windows: evictedWindows, evicted_events: evictedEvents, late, uncounted }
}
