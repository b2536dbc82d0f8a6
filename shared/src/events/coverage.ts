/**
 * What a host can see, class by class, and since when: the words that agent, controller and console share. A collector says where a
 * class comes from; gap records say what was lost; together they become the windows in which a rule was blind (design 6).
 */
import { type Static, Type } from 'typebox'
import { EVENT_CLASSES } from './classes.ts'

/** `sensor`: the kernel tells. `audit`: the audit subsystem tells. `log`: a program's own log tells. `polling`: what lives shorter than an interval is not seen. `none`: nobody tells. */
export const CLASS_SOURCES = ['sensor', 'audit', 'log', 'polling', 'none'] as const
export type ClassSource = (typeof CLASS_SOURCES)[number]

/** `full`: all that the source can tell. `partial`: some of it is known to be missed. `blind`: nothing of it. */
export const COVERAGE_QUALITIES = ['full', 'partial', 'blind'] as const
export type CoverageQuality = (typeof COVERAGE_QUALITIES)[number]

/** Why a source is not what it could be. Closed; the gap reasons of the wire are the others. */
export const SOURCE_REASONS = ['collector_off', 'degraded_to_audit', 'degraded_to_polling', 'sensor_restarted'] as const
export type SourceReason = (typeof SOURCE_REASONS)[number]

/** Where a class comes from on this host, and why it is not better. A class may have several: the best of them counts. */
export const SourceStatus = Type.Object(
  {
    class: Type.Enum([...EVENT_CLASSES]),
    source: Type.Enum([...CLASS_SOURCES]),
    quality: Type.Enum([...COVERAGE_QUALITIES]),
    reason: Type.Optional(Type.Enum([...SOURCE_REASONS], { description: 'When the quality is not `full`.' })),
    why: Type.Optional(Type.String({ maxLength: 256, description: 'In words, for people.' })),
    since_ms: Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'ms since 1970, by the host.',
    }),
  },
  { additionalProperties: false, description: 'Where events of a class come from.' },
)
export type SourceStatus = Static<typeof SourceStatus>
