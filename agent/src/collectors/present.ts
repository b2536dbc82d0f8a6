type Present<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>
}

/** The fields that are known: a fact that could not be read is left out of an event, never sent as null. */
export function present<T extends object>(fields: T): Present<T> {
  const known: Record<string, unknown> = {}
  // By keys: no list is made of each, and this is done several times an event.
  for (const name in fields) {
    const value = fields[name]
    if (value !== undefined) known[name] = value
  }
  return known as Present<T>
}
