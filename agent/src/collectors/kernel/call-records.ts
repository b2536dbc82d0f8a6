/** Calls that change what a process may do, or the kernel itself, as process events: tracing, modules, bpf, mounts, credentials, namespaces. */
import type { Event } from '@firebreak/shared/events/event.ts'
import { capabilityNames } from '../capabilities.ts'
import type { EmitTally } from '../emit-tally.ts'
import { present } from '../present.ts'
import { namespacesOf } from '../process-events.ts'
import type { ProcessTable } from '../process-table.ts'
import { bpfProgramType, cloneFlags, mountFlags, ptraceRequest } from './call-words.ts'
import { errnoName } from './errno.ts'
import type { ProcessRecords } from './process-records.ts'
import { rightsOf, textOrNone } from './record-image.ts'
import { type RecordTimes, isoOf } from './record-times.ts'
import type { SensorKernelCall } from './sensor-records.ts'

type KernelFields = NonNullable<NonNullable<Event['firebreak']>['kernel']>
type Category = Event['event']['category'][number]
type EventType = Event['event']['type'][number]

interface Words {
  readonly action: string
  readonly category: Category
  readonly type: EventType
}

export const CALL_WORDS: { readonly [K in SensorKernelCall['kind']]: Words } = {
  'memfd-create': { action: 'memory-file-created', category: 'process', type: 'info' },
  ptrace: { action: 'process-traced', category: 'process', type: 'access' },
  'process-write': { action: 'process-memory-written', category: 'process', type: 'access' },
  'module-load': { action: 'kernel-module-loaded', category: 'driver', type: 'start' },
  'module-unload': { action: 'kernel-module-unloaded', category: 'driver', type: 'end' },
  'bpf-load': { action: 'bpf-program-loaded', category: 'process', type: 'change' },
  mount: { action: 'mounted', category: 'process', type: 'change' },
  unmount: { action: 'unmounted', category: 'process', type: 'change' },
  credentials: { action: 'credentials-changed', category: 'process', type: 'change' },
  setns: { action: 'namespace-joined', category: 'process', type: 'change' },
  unshare: { action: 'namespaces-unshared', category: 'process', type: 'change' },
  'pivot-root': { action: 'root-changed', category: 'process', type: 'change' },
}

export interface CallRecordsDeps {
  readonly out: EmitTally
  readonly times: RecordTimes
  readonly hostName: string
  readonly processes: ProcessRecords
  readonly table: ProcessTable
}

export class CallRecords {
  readonly #deps: CallRecordsDeps

  constructor(deps: CallRecordsDeps) {
    this.#deps = deps
  }

  take(record: SensorKernelCall): void {
    const { actor, kind, target } = record
    if (!actor) return
    const { processes, table, out, times, hostName } = this.#deps
    if (kind === 'credentials' || kind === 'setns' || kind === 'unshare') {
      const entry = processes.entryOf(actor)
      table.change(entry, { image: { ...entry.known.image, ...rightsOf(actor) } })
    }
    const failed = record.result < 0n
    const words = CALL_WORDS[kind]
    const path = kind === 'setns' ? undefined : textOrNone(record.path)
    const doer = processes.doer(actor)
    const firebreak = present({
      kernel: kernelFields(record),
      namespaces: kind === 'setns' || kind === 'unshare' ? namespacesOf(actor.namespaces) : undefined,
      target: target && processes.other(target.pid, target.startBoottimeNs),
    })
    const event: Event = {
      '@timestamp': isoOf(times.wallMs(record.monotonicNs)),
      event: {
        category: words.category === 'process' ? ['process'] : [words.category, 'process'],
        type: [words.type],
        action: words.action,
        dataset: 'firebreak.process',
        provider: 'kernel',
        outcome: failed ? 'failure' : 'success',
        ...present({ reason: failed ? errnoName(Number(-record.result)) : undefined }),
      },
      host: { name: hostName },
      ...doer,
      ...(path === undefined ? {} : { file: { path } }),
      firebreak,
    }
    out.event(kind === 'credentials' ? withChange(event, record, table) : event)
  }
}

function kernelFields(record: SensorKernelCall): KernelFields {
  const [first] = record.args
  const name = textOrNone(record.name)
  const detail = textOrNone(record.detail)
  switch (record.kind) {
    case 'memfd-create':
      return present({ call: 'memfd_create', name })
    case 'ptrace':
      return { call: ptraceRequest(Number(first)) }
    case 'process-write':
      return { call: 'process_vm_writev' }
    case 'module-load':
      return present({ call: 'init_module', name: name ?? nameOfModule(textOrNone(record.path)), flags: detail })
    case 'module-unload':
      return present({ call: 'delete_module', name })
    case 'bpf-load':
      return present({ call: 'BPF_PROG_LOAD', name, kind: bpfProgramType(Number(first)) })
    case 'mount':
      return present({ call: 'mount', name: detail, kind: name, flags: mountFlags(first) })
    case 'unmount':
      return { call: 'umount' }
    case 'credentials': {
      const actor = record.actor?.capEffective ?? 0n
      const gained = capabilityNames(actor & ~record.old.capEffective)
      return present({ call: `syscall ${first}`, gained: gained.length > 0 ? [...gained] : undefined })
    }
    case 'setns':
      return present({ call: 'setns', kind: cloneFlags(first), name: textOrNone(record.path) })
    case 'unshare':
      return present({ call: 'unshare', kind: cloneFlags(first) })
    case 'pivot-root':
      return present({ call: first === 1n ? 'chroot' : 'pivot_root', name: detail })
    default:
      throw new TypeError(`unhandled call ${JSON.stringify(record.kind satisfies never)}`)
  }
}

/** `user` is who it was, `user.changes` who it is now. */
function withChange(event: Event, record: SensorKernelCall, { accounts }: ProcessTable): Event {
  const { actor, old } = record
  if (!actor || (actor.euid === old.euid && actor.uid === old.uid)) return event
  const account = (uid: number) => ({ id: String(uid), ...present({ name: accounts.nameOf(String(uid)) }) })
  return {
    ...event,
    user: {
      ...event.user,
      ...account(old.uid),
      ...(old.euid === old.uid ? {} : { effective: account(old.euid) }),
      changes: account(actor.euid),
    },
  }
}

function nameOfModule(path: string | undefined): string | undefined {
  return path?.slice(path.lastIndexOf('/') + 1).replace(/\.ko(?:\.\w+)?$/, '')
}
