import type { Severity } from '../triage/index.ts'
import type { Colors } from './io.ts'

export function paintSeverity(colors: Colors, text: string, severity: Severity): string {
  switch (severity) {
    case 'critical':
      return colors.bold(colors.red(text))
    case 'high':
      return colors.red(text)
    case 'medium':
      return colors.yellow(text)
    case 'low':
      return colors.cyan(text)
    case 'informational':
      return colors.dim(text)
    default:
      throw new Error(`unhandled severity ${String(severity satisfies never)}`)
  }
}

export function confidenceText(confidence: number): string {
  return `${Math.round(confidence)}%`
}
