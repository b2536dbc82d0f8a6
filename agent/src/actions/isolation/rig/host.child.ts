/** The actions of an agent inside the namespace of the host to isolate, driven over a pipe; can be killed at a named step. */
import { createPublicKey, type KeyObject, randomBytes, verify } from 'node:crypto'
import { connect } from 'node:net'
import { systemClock } from '@firebreak/shared/clock.ts'
import type { IsolateHost } from '@firebreak/shared/commands/isolate-host.ts'
import { ok, refuse, type Result } from '@firebreak/shared/result.ts'
import type { ControllerAddress, ControllerLink } from '../../../link/controller-link.ts'
import { silentLog } from '../../../log.ts'
import { createLinuxPlatform } from '../../../platform/linux/linux.ts'
import type { Platform } from '../../../platform/platform.ts'
import { type ActionTable, createActions } from '../../actions.ts'
import type { IsolationTiming } from '../isolation-parts.ts'

export interface HostSettings {
  readonly stateDir: string
  readonly publicKey: string
  readonly controllers: readonly ControllerAddress[]
  readonly resolvConf: string
  readonly leaseFolders: readonly string[]
  readonly timing?: IsolationTiming
  /** Without CAP_NET_ADMIN. */
  readonly unprivileged?: boolean
  /** The state folder is mounted read-only. */
  readonly readOnlyState?: boolean
  /** The firewall refuses so many times to let the table go. */
  readonly refusedDeletes?: number
}

export type HostCall =
  | {
      readonly call: 'check' | 'isolate' | 'verify' | 'reconcile'
      readonly cmdId: string
      readonly args: IsolateHost
      readonly crashAt?: string
    }
  | {
      readonly call: 'release' | 'reconcile-release' | 'verify-release'
      readonly cmdId: string
      readonly crashAt?: string
    }
  | { readonly call: 'open'; readonly settings: HostSettings }
  | { readonly call: 'close' }
  | { readonly call: 'resume' | 'stop' | 'containment' }
  | { readonly call: 'release-locally'; readonly code: string }
  /** The trust file names these controllers from now on. */
  | { readonly call: 'follow'; readonly controllers: readonly ControllerAddress[] }

/** A signed answer to a fresh nonce from any controller, over a new connection. */
function ask(address: ControllerAddress, publicKey: KeyObject, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const nonce = randomBytes(32)
    const socket = connect({ host: address.ip, port: address.port })
    const timer = setTimeout(() => socket.destroy(), timeoutMs)
    socket.once('connect', () => socket.write(nonce))
    socket.once('data', (signature) => {
      resolve(verify(null, nonce, publicKey, signature))
      socket.destroy()
    })
    socket.once('error', () => socket.destroy())
    socket.once('close', () => {
      clearTimeout(timer)
      resolve(false)
    })
  })
}
let known: readonly ControllerAddress[] = []
function linkTo({ controllers, publicKey }: HostSettings): ControllerLink {
  const key = createPublicKey(Buffer.from(publicKey, 'base64url').toString())
  known = controllers
  return {
    controllers: () => Promise.resolve(known),
    async confirm(timeoutMs): Promise<Result<number, 'unreachable' | 'bad_signature'>> {
      const start = performance.now()
      while (performance.now() - start < timeoutMs) {
        const left = timeoutMs - (performance.now() - start)
        const answers = await Promise.all(controllers.map((address) => ask(address, key, Math.min(left, 1_000))))
        if (answers.includes(true)) return ok(performance.now() - start)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      return refuse('unreachable', 'no signed answer')
    },
  }
}

let table: ActionTable | undefined
function opened(): ActionTable {
  if (!table) throw new Error('open first')
  return table
}
function platformOf({ resolvConf, leaseFolders, refusedDeletes = 0 }: HostSettings): Platform {
  const platform = createLinuxPlatform({ network: { resolvConf, leaseFolders } })
  const { firewall } = platform
  let refused = 0
  const deleteTable = () =>
    refused++ < refusedDeletes
      ? Promise.resolve(refuse('rejected', 'refused, as the test wants'))
      : firewall.deleteTable()
  return { ...platform, firewall: { ...firewall, deleteTable } }
}
/** As a start of the agent on this state. */
async function open(settings: HostSettings): Promise<void> {
  await close()
  table = createActions({
    protects: () => false,
    platform: platformOf(settings),
    link: linkTo(settings),
    stateDir: settings.stateDir,
    clock: systemClock,
    log: silentLog,
    emit: (event) => process.send?.({ event }),
    onEnded: async (ended) => {
      process.send?.({ ended })
    },
    timing: settings.timing,
  })
}
async function close(): Promise<void> {
  await table?.actions['isolate-host'].stop()
  table = undefined
}

const crasher = (crashAt: string | undefined) => (name: string) => {
  if (name === crashAt) process.kill(process.pid, 'SIGKILL')
}
const report = async (effect: object) => {
  process.send?.({ reported: effect })
}

async function answer(call: HostCall): Promise<unknown> {
  if (call.call === 'open') return open(call.settings)
  if (call.call === 'close') return close()
  const { actions, ...local } = opened()
  switch (call.call) {
    case 'check':
    case 'isolate':
    case 'verify':
    case 'reconcile': {
      const order = { cmdId: call.cmdId, type: 'isolate-host', args: call.args, step: crasher(call.crashAt) } as const
      const action = actions['isolate-host']
      if (call.call === 'check') return action.check(order)
      if (call.call === 'verify') return action.verify(order)
      if (call.call === 'reconcile') return action.reconcile(order)
      return action.apply(order, report)
    }
    case 'release':
    case 'verify-release':
    case 'reconcile-release': {
      const order = { cmdId: call.cmdId, type: 'release-host', args: {}, step: crasher(call.crashAt) } as const
      if (call.call === 'release') return actions['release-host'].apply(order, report)
      if (call.call === 'verify-release') return actions['release-host'].verify(order)
      return actions['release-host'].reconcile(order)
    }
    case 'resume':
      return actions['isolate-host'].resume()
    case 'stop':
      return actions['isolate-host'].stop()
    case 'follow':
      known = call.controllers
      return local.controllersChanged()
    case 'containment':
      return local.containment()
    case 'release-locally':
      return local.isReleaseCode(call.code)
        ? local.releaseLocally('one-time code')
        : refuse('wrong_code', 'not the code')
    default:
      throw new Error('unhandled call', { cause: call satisfies never })
  }
}

process.on('message', (message: { id: number; call: HostCall }) => {
  answer(message.call).then(
    (value) => process.send?.({ id: message.id, value }),
    (error: unknown) => process.send?.({ id: message.id, error: String(error) }),
  )
})
process.on('disconnect', () => process.exit())
process.send?.({ ready: true })
