import { reasonOf } from '@firebreak/shared/result.ts'
import type { Bus, BusMessages, Topic } from './bus.ts'

type Handler = (message: never) => void | Promise<void>

/** Delivers in the order of publishing, each handler in a later microtask, so that a publisher never runs somebody else's code. */
export function createMemoryBus(onHandlerError: (topic: Topic, why: string) => void): Bus {
  const handlers = new Map<Topic, Set<Handler>>()
  return {
    publish<T extends Topic>(topic: T, message: BusMessages[T]) {
      for (const handler of handlers.get(topic) ?? []) {
        queueMicrotask(() => {
          void deliver(topic, handler as (message: BusMessages[T]) => void | Promise<void>, message)
        })
      }
    },
    subscribe(topic, handler) {
      const set = handlers.get(topic) ?? new Set<Handler>()
      handlers.set(topic, set)
      set.add(handler)
      return () => set.delete(handler)
    },
  }

  async function deliver<T extends Topic>(
    topic: T,
    handler: (message: BusMessages[T]) => void | Promise<void>,
    message: BusMessages[T],
  ): Promise<void> {
    try {
      await handler(message)
    } catch (thrown) {
      onHandlerError(topic, reasonOf(thrown))
    }
  }
}
