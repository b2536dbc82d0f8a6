import type { Event } from './event.ts'

/**
 * Streams of an agent, most important first: each is numbered on its own, and when the disk is full the last one loses first.
 * `alert`: what the agent itself raises. Source: design 6.
 */
export const EVENT_CLASSES = ['alert', 'process', 'authentication', 'network', 'file', 'inventory'] as const
export type EventClass = (typeof EVENT_CLASSES)[number]

export function isEventClass(text: string): text is EventClass {
  return (EVENT_CLASSES as readonly string[]).includes(text)
}

export function classOf(event: Pick<Event, 'event'>): EventClass {
  if (event.event.kind === 'alert') return 'alert'
  if (event.event.kind === 'state' || event.event.kind === 'metric') return 'inventory'
  switch (event.event.category[0]) {
    case 'process':
    case 'driver':
    case 'library':
      return 'process'
    case 'authentication':
    case 'session':
      return 'authentication'
    case 'network':
      return 'network'
    case 'file':
    case 'registry':
      return 'file'
    default:
      return 'inventory'
  }
}
