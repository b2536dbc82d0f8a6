/** What a correlation found, for people. */
import type { Firing } from './correlator.ts'

export function firingInWords({ correlation, fromMs, toMs, events, measured, group }: Firing): string {
  const many = events === 1 ? '1 event' : `${events} events`
  const where = group.map(({ field, value }) => `${field} ${value === null ? 'absent' : String(value)}`).join(', ')
  const measure = MEASURED[correlation.type]
  const fields = correlation.fields.join(' and ')
  const what = measure === undefined ? '' : `, ${measure} ${fields} ${Number(measured.toPrecision(12))}`
  const seen = correlation.type.startsWith('temporal') ? `, ${measured} of ${correlation.rules.length} rules` : ''
  return `${many} in ${spanInWords(toMs - fromMs)}${what}${seen}${where === '' ? '' : ` (${where})`}`
}

const MEASURED: Readonly<Partial<Record<Firing['correlation']['type'], string>>> = {
  value_count: 'different values of',
  value_sum: 'sum of',
  value_avg: 'average of',
  value_percentile: 'percentile of',
}

function spanInWords(ms: number): string {
  if (ms < 1_000) return `${ms} ms`
  const seconds = Math.round(ms / 1_000)
  if (seconds < 120) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`
}
