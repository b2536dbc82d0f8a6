/** The configuration file that a package brings: every setting with its meaning and default, commented out, made from the schema. */
import type { TSchema } from 'typebox'
import { stringify } from 'yaml'

const WIDTH = 116

export function sampleConfig(schema: TSchema, title: readonly string[]): string {
  return `${[...title.map((line) => `# ${line}`), '', ...settings(schema, 0)].join('\n').trimEnd()}\n`
}

function settings(schema: TSchema, depth: number): string[] {
  const lines: string[] = []
  for (const [name, member] of Object.entries(propertiesOf(schema))) {
    const description = (member as { description?: string }).description
    const indent = '  '.repeat(depth)
    if (description !== undefined)
      lines.push(...wrap(description, WIDTH - indent.length).map((line) => `# ${indent}${line}`))
    const inner = propertiesOf(member)
    if (Object.keys(inner).length > 0) lines.push(`#${indent}${name}:`, ...settings(member, depth + 1))
    else
      lines.push(
        ...stringify({ [name]: (member as { default?: unknown }).default ?? null }, { lineWidth: 0 })
          .trimEnd()
          .split('\n')
          .map((line) => `#${indent}${line}`),
      )
    if (depth === 0) lines.push('')
  }
  return lines
}

function propertiesOf(schema: TSchema): Readonly<Record<string, TSchema>> {
  return (schema as { properties?: Record<string, TSchema> }).properties ?? {}
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const last = lines[lines.length - 1] ?? ''
    if (last !== '' && last.length + word.length + 1 > width) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines
}
