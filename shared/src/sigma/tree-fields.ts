/** Reading the entries of a YAML map as the kinds of value that Sigma documents have. All throw `Unusable` with the line. */
import { Unusable } from './refusal.ts'
import type { Tree, TreeMap } from './yaml-tree.ts'

const MAX_TEXT = 65_535

/** A map under a key; `null` when the key is absent or empty. */
export function mapOf(tree: TreeMap, key: string): TreeMap | null {
  const value = tree.entries.get(key)
  if (value === undefined || (value.kind === 'scalar' && value.value === null)) return null
  if (value.kind !== 'map') throw new Unusable('field_invalid', `${key} must be a map`, value.line)
  return value
}

export function optionalText(tree: TreeMap, key: string): string | null {
  const value = tree.entries.get(key)
  if (value === undefined || (value.kind === 'scalar' && value.value === null)) return null
  if (value.kind !== 'scalar') throw new Unusable('field_invalid', `${key} must be text`, value.line)
  return (typeof value.value === 'string' ? value.value : value.written).slice(0, MAX_TEXT)
}

/** A list of texts; one text alone counts as a list of one. */
export function textList(tree: TreeMap, key: string): readonly string[] {
  const value = tree.entries.get(key)
  return value === undefined ? [] : textsOf(value, key)
}

export function textsOf(value: Tree, key: string): readonly string[] {
  if (value.kind === 'map') throw new Unusable('field_invalid', `${key} must be a list of texts`, value.line)
  const items = value.kind === 'list' ? value.items : value.value === null ? [] : [value]
  return items.map((item) => {
    if (item.kind !== 'scalar') throw new Unusable('field_invalid', `${key} must hold texts only`, item.line)
    return typeof item.value === 'string' ? item.value : item.written
  })
}

export function oneOf<T extends string>(tree: TreeMap, key: string, allowed: readonly T[]): T | null {
  const text = optionalText(tree, key)?.toLowerCase()
  if (text === undefined) return null
  const known = allowed.find((value) => value === text)
  if (known === undefined) {
    const line = tree.entries.get(key)?.line ?? tree.line
    throw new Unusable('field_invalid', `${key} must be one of ${allowed.join(', ')}`, line)
  }
  return known
}
