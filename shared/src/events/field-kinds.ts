/** The kinds of field that events are made of. */
import { Type, type TProperties, type TSchema } from 'typebox'

/** Longest value of a field, in UTF-16 units; longer ones are cut by the sender and listed in `firebreak.truncated`. */
export const FIELD_LIMITS = { keyword: 4_096, text: 32_768, list: 512, depth: 16 } as const

export const keyword = (description: string) => Type.String({ maxLength: FIELD_LIMITS.keyword, description })
export const text = (description: string) => Type.String({ maxLength: FIELD_LIMITS.text, description })
export const count = (description: string) =>
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description })
export const closed = <T extends TProperties>(properties: T, description: string) =>
  Type.Object(properties, { additionalProperties: false, description })
export const maybe = <T extends TSchema>(schema: T) => Type.Optional(schema)
