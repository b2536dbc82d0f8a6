/** An event as a person reads it in one line: who did what to what. */
import type { Event } from '@firebreak/shared/events/event.ts'

/** The one thing about an event that says most. */
export function whatOf(event: Event): string {
  const { process, file, source, destination } = event
  if (file?.path !== undefined) return `${file.path}${by(process?.name)}`
  if (event.dns?.question?.name !== undefined)
    return `${event.dns.question.name}${event.dns.question.type === undefined ? '' : ` ${event.dns.question.type}`}${by(process?.name)}`
  if (destination?.ip !== undefined) return `${endpointOf(source)} → ${endpointOf(destination)}${by(process?.name)}`
  if (process !== undefined)
    // A kernel thread has an empty command line.
    return process.command_line || process.executable || `${process.name ?? 'process'} (pid ${process.pid ?? '?'})`
  if (event.package !== undefined) return `${event.package.name} ${event.package.version}`
  const from = source?.ip === undefined ? '' : ` from ${source.ip}`
  return event.message ?? event.event.reason ?? `${event.user?.name ?? event.service?.name ?? ''}${from}`
}

/** The other side of a connection, and who began it. */
export function peerOf({ source, destination, network }: Event): string {
  if (network?.direction === 'ingress') return source?.ip === undefined ? '-' : `← ${endpointOf(source)}`
  return destination?.ip === undefined ? '-' : `→ ${endpointOf(destination)}`
}

export function whoOf(event: Event): string {
  return event.process?.user?.name ?? event.user?.name ?? event.process?.user?.id ?? event.user?.id ?? '-'
}

export function hostOf({ host }: Event): string {
  return host?.name ?? host?.hostname ?? host?.id ?? '-'
}

function endpointOf(side: Event['destination']): string {
  if (side?.ip === undefined) return '?'
  const address = side.ip.includes(':') ? `[${side.ip}]` : side.ip
  return side.port === undefined ? address : `${address}:${side.port}`
}

function by(name: string | undefined): string {
  return name === undefined ? '' : `  by ${name}`
}
