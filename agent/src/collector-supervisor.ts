/** Starts the collectors, tries again what could not start, and tells of each why it does not see. */
import type { Clock } from '@firebreak/shared/clock.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { CollectorStatus } from '@firebreak/shared/wire/messages.ts'
import type { SourceStatus } from '@firebreak/shared/events/coverage.ts'
import type { Collector, Emit } from './collectors/collector.ts'
import type { Sources } from './collectors/sources.ts'
import type { Log } from './log.ts'
import { AGENT_LOG } from './log-names.ts'

export interface CollectorSupervisor {
  start(): Promise<void>
  stop(): Promise<void>
  status(): CollectorStatus[]
  /** Where each class comes from now, and why it is not better. */
  sources(): SourceStatus[]
}

const RETRY_MS = 60_000

export function superviseCollectors(
  collectors: readonly Collector[],
  emit: Emit,
  { clock, log, sources }: { readonly clock: Clock; readonly log: Log; readonly sources: Sources },
): CollectorSupervisor {
  const running = new Set<Collector>()
  const blind = new Map<Collector, string>()
  const stopping = new AbortController()

  const tryStart = async (collector: Collector) => {
    const why = await startOne(collector, emit)
    if (why === undefined) {
      running.add(collector)
      blind.delete(collector)
      offer(collector, sources)
      log.info(AGENT_LOG.collectorStarted, { collector: collector.name })
      return
    }
    if (blind.get(collector) !== why) log.warn(AGENT_LOG.collectorBlind, { collector: collector.name, reason: why })
    blind.set(collector, why)
  }
  const retry = async () => {
    for (;;) {
      await clock.sleep(RETRY_MS, stopping.signal)
      for (const collector of blind.keys()) await tryStart(collector)
    }
  }
  let retrying: Promise<void> | undefined
  return {
    async start() {
      for (const collector of collectors) await tryStart(collector)
      retrying = retry().catch((thrown: unknown) => {
        if (!stopping.signal.aborted)
          log.error(AGENT_LOG.collectorBlind, { collector: 'all', reason: reasonOf(thrown) })
      })
    },
    async stop() {
      stopping.abort()
      await retrying
      for (const collector of running) {
        try {
          await collector.stop()
        } catch (thrown) {
          log.error(AGENT_LOG.collectorBlind, { collector: collector.name, reason: reasonOf(thrown) })
        }
      }
      for (const { name, classes } of running) for (const eventClass of classes) sources.withdraw(name, eventClass)
      running.clear()
    },
    sources: () => {
      for (const collector of running) offer(collector, sources)
      return sources.status()
    },
    status: () =>
      collectors.map((collector) => {
        const { state, why, events, lost } = collector.health()
        const reason = blind.get(collector) ?? why
        return {
          name: collector.name,
          state: running.has(collector) ? state : 'off',
          ...(reason === undefined ? {} : { why: reason.slice(0, 512) }),
          classes: [...collector.classes],
          events,
          lost,
        }
      }),
  }
}

/** Programs and inventories are read to the end; whoever looks at the system again and again misses what is short. */
function offer(collector: Collector, sources: Sources): void {
  const { name, classes, source } = collector
  if (source === undefined) return
  const { state, why } = collector.health()
  for (const eventClass of classes) {
    const isWhole = state === 'running' && !(source === 'polling' && eventClass !== 'inventory')
    const quality = isWhole ? 'full' : 'partial'
    sources.offer(name, eventClass, { source, quality, ...(isWhole || why === undefined ? {} : { why }) })
  }
}

async function startOne(collector: Collector, emit: Emit): Promise<string | undefined> {
  try {
    const can = await collector.canRun()
    if (!can.ok) return `${can.code}: ${can.why}`
    await collector.start(emit)
    return undefined
  } catch (thrown) {
    return `it failed to start: ${reasonOf(thrown)}`
  }
}
