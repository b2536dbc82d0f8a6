/** `firebreak indicators pattern`: whether a STIX pattern can be used, what it comes down to, and whether it holds over observed data. */
import { readFileSync } from 'node:fs'
import { reasonOf } from '@firebreak/shared/result.ts'
import { matchPattern } from '@firebreak/shared/stix/match-pattern.ts'
import { observationsOf } from '@firebreak/shared/stix/observations.ts'
import { parsePattern } from '@firebreak/shared/stix/parse-pattern.ts'
import { valuesOfPattern } from '@firebreak/shared/stix/pattern-values.ts'
import type { Command } from 'commander'
import { CliError, type Exit } from './exit-codes.ts'
import { printOne } from './output.ts'
import { type Cli, verb } from './session.ts'
import { safeText } from './terminal-text.ts'

export function addPatternVerb(cli: Cli, parent: Command): void {
  verb<{ readonly observed?: string }>(
    cli,
    parent,
    'pattern <pattern>',
    'check a STIX pattern; no controller is asked',
    async ({ io, format }, [text = ''], { observed }): Promise<Exit> => {
      const parsed = parsePattern(text)
      if (!parsed.ok) throw new CliError('usage', `${safeText(parsed.why)} [${parsed.code}]`)
      const values = valuesOfPattern(parsed.value)
      const matched = observed === undefined ? undefined : matchPattern(parsed.value, observedIn(observed))
      if (matched?.ok === false) throw new CliError('failed', `${safeText(matched.why)} [${matched.code}]`)
      const found = {
        values: values.ok ? values.value : [],
        why_not: values.ok ? null : values.why,
        matches: matched?.value ?? null,
      }
      printOne(io, format, found, values.ok ? values.value.map(({ value }) => value).join(' ') : '', () =>
        [
          values.ok
            ? values.value.map(({ type, value }) => `${type.padEnd(8)}${safeText(value)}`).join('\n')
            : `cannot be matched on the stream: ${safeText(values.why)}`,
          ...(matched ? [matched.value ? 'holds over the observed data' : 'does not hold over the observed data'] : []),
        ].join('\n'),
      )
      return 'ok'
    },
  ).option('--observed <file>', 'observed-data of STIX 2.0 or bundles of 2.1, one JSON document or a list of them')
}

function observedIn(file: string) {
  let json: unknown
  try {
    json = JSON.parse(readFileSync(file, 'utf8'))
  } catch (thrown) {
    throw new CliError('usage', `${safeText(file)} cannot be read: ${safeText(reasonOf(thrown))}`)
  }
  const observations = observationsOf(Array.isArray(json) ? json : [json])
  if (!observations) throw new CliError('usage', `${safeText(file)} holds no observed data`)
  return observations
}
