/** Pieces that the resources' schemas are made of. */
import { AGENT_ID_PATTERN, UUID_PATTERN } from '@firebreak/shared/ids.ts'
import { Type, type TProperties, type TSchema } from 'typebox'

export const Time = (description: string) =>
  Type.String({
    maxLength: 40,
    pattern: String.raw`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$`,
    description: `${description} (ISO 8601 UTC)`,
  })
export const Uuid = (description: string) => Type.String({ pattern: UUID_PATTERN, description })
export const AgentIdText = (description = 'Agent id.') => Type.String({ pattern: AGENT_ID_PATTERN, description })
export const Count = (description: string) => Type.Integer({ minimum: 0, description })
export const orNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
export const closed = <T extends TProperties>(properties: T, description: string) =>
  Type.Object(properties, { additionalProperties: false, description })
/** JSON that hosts or rules brought along; described where it is made. */
export const Free = (description: string) => Type.Record(Type.String(), Type.Unknown(), { description })
export const Texts = (description: string) => Type.Array(Type.String(), { description })

/** `~` sorts after every letter of an id, so `prefix` to `prefix~` is all that begins with it. */
export const IdPrefix = Type.Optional(Type.String({ pattern: '^[0-9a-f-]{8,36}$', description: 'Ids that begin so.' }))
export const IdParams = closed({ id: Uuid('Id.') }, 'Path.')
export const AgentParams = closed({ agent_id: AgentIdText() }, 'Path.')
