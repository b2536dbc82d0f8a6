import type { AddressInfo } from 'node:net'
import { WIRE, WS_LIMITS } from '@firebreak/shared/wire/limits.ts'
import { expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { openMailbox } from './mailbox.ts'

it('cuts off who says very much before it has shown who it is', async () => {
  const server = new WebSocketServer({ ...WS_LIMITS, port: 0, host: '127.0.0.1' })
  server.on('connection', (socket) => {
    socket.on('error', () => undefined) // it is cut off
    for (let i = 0; i < 200; i++) socket.send(Buffer.alloc(WIRE.maxPreAuthFrameBytes, 1))
  })
  await new Promise((resolve) => server.once('listening', resolve))
  const socket = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, WS_LIMITS)
  const mail = openMailbox(socket)
  await new Promise((resolve) => socket.once('close', resolve))
  expect(mail.close().length).toBeLessThanOrEqual(64)
  await new Promise((resolve) => server.close(resolve))
})
