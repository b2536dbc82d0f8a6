/**
 * `<EventData><Data Name="...">...</Data></EventData>` that was shipped as text. Only these elements are looked for: nothing else of XML
 * is understood, no entity but the five that XML itself names is replaced, and nothing outside is read.
 */
const ELEMENT = /<Data Name="([^"<>]{1,256})"\s*(?:\/>|>([^<]*)<\/Data>)/g
const MAX_ELEMENTS = 512
const MAX_TEXT = 262_144
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

export function* dataElements(text: unknown): Generator<readonly [string, string]> {
  if (typeof text !== 'string' || text.length > MAX_TEXT || !text.includes('<Data Name=')) return
  let count = 0
  for (const [, name = '', value = ''] of text.matchAll(ELEMENT)) {
    if (++count > MAX_ELEMENTS) return
    yield [name, value.replaceAll(/&(amp|lt|gt|quot|apos);/g, (_whole, entity: string) => ENTITIES[entity] ?? '')]
  }
}
