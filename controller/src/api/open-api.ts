/** The OpenAPI document: everything in it comes from the routes, their rights and the code list. */
import type { SwaggerOptions } from '@fastify/swagger'
import type { FastifySchema } from 'fastify'
import { VERSION } from '../version.ts'
import { guardOf } from '../access/route-rights.ts'
import { Problem, PROBLEM_TYPE, PROBLEMS } from './problem.ts'

const DESCRIPTION = `Everything the console and \`firebreak\` do goes through here.

**Access.** \`Authorization: Bearer fb_pat_...\`; each route names the right that it asks for, each role holds a set of them.
**Lists** come in pages: pass \`next\` as \`cursor\` until it is null.
**Edits** need \`If-Match\` with the ETag that was read.
**Failures** are RFC 9457 problem bodies. Programs decide on \`code\`:

| code | status | meaning |
| --- | --- | --- |
${Object.entries(PROBLEMS)
  .map(([code, { status, title }]) => `| \`${code}\` | ${status} | ${title} |`)
  .join('\n')}

Strings that come from hosts (command lines, paths, names) are data of an attacker: never show them as HTML or to a terminal unescaped.`

const problemAnswer = (description: string) => ({ description, content: { [PROBLEM_TYPE]: { schema: Problem } } })

export const openApi: SwaggerOptions = {
  openapi: {
    openapi: '3.1.0',
    info: { title: 'Firebreak', version: VERSION, description: DESCRIPTION, license: { name: 'Apache-2.0' } },
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer', bearerFormat: 'fb_pat_...' } } },
    tags: [
      { name: 'hosts', description: 'The fleet.' },
      { name: 'join tokens', description: 'What lets a host in.' },
      { name: 'incidents', description: 'Alerts that belong together, and what is done about them.' },
      { name: 'alerts', description: 'What detectors said.' },
      { name: 'runs', description: 'Playbooks at work.' },
      { name: 'commands', description: 'Signed orders and their proof.' },
      { name: 'imports', description: 'Recordings taken in as if hosts had sent them.' },
      { name: 'events', description: 'Facts from hosts.' },
      { name: 'rules', description: 'What is looked for.' },
      { name: 'audit', description: 'Who did what.' },
      { name: 'tokens', description: 'Who may ask.' },
      { name: 'system', description: 'The controller itself.' },
    ],
  },
  transform: ({ schema, url, route }) => {
    const method = Array.isArray(route.method) ? (route.method[0] ?? 'GET') : route.method
    const guard = guardOf(method, url)
    if (!schema || schema.hide === true || guard === undefined) return { schema: schema ?? { hide: true }, url }
    const open = guard === 'public'
    const documented: FastifySchema = {
      ...schema,
      operationId: operationId(method, url),
      description: open ? (schema.description ?? '') : `${schema.description ?? ''}\n\nRight: \`${guard}\`.`.trim(),
      security: open ? [] : [{ token: [] }],
      response: {
        ...(typeof schema.response === 'object' ? schema.response : {}),
        ...textAnswer(schema.produces),
        ...(open ? {} : { 401: problemAnswer('No valid token.'), 403: problemAnswer('The role lacks the right.') }),
        default: problemAnswer('A problem; see the list of codes.'),
      },
    }
    return { schema: documented, url }
  },
}

/** Answers that are no JSON have no schema to take the document from. */
function textAnswer(produces: readonly string[] | undefined): object {
  if (produces === undefined) return {}
  const content = Object.fromEntries(produces.map((type) => [type, { schema: { type: 'string' } }]))
  return { 200: { description: 'As text.', content } }
}

/** `GET /api/v1/hosts/:agent_id` → `getHostsByAgentId`: what generated clients call it. */
function operationId(method: string, url: string): string {
  const words = url
    .replace(/^\/api\/v1/, '')
    .split('/')
    .flatMap((part) => (part.startsWith(':') ? ['by', ...part.slice(1).split('_')] : part.split('-')))
  return method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')
}
