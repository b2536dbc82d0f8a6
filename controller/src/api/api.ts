import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Server } from 'node:https'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'

/** The server as the resources see it. `https.Server` stands for plain HTTP too: Fastify's types have one name for both. */
export type Api = FastifyInstance<Server, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>
