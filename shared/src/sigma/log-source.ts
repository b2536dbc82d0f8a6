/**
 * Which log sources an event belongs to, read from the event itself. A record that says where it comes from (channel,
 * provider, ECS category) is certain: only rules for that source are tried. One that does not is placed by its fields and
 * paths, and then only a contradiction keeps a rule away. Source: taxonomy appendix 2.1.0.
 */
import { ecsShape, ecsWithRecordShape } from './ecs-fields.ts'
import { type FieldShape, mappedShape, pathAccessor, type SigmaEvent } from './event-fields.ts'
import { ecsMarks } from './ecs-marks.ts'
import type { LogSource } from './rule.ts'
import { CATEGORIES_OF_SERVICE, SERVICE_OF_CHANNEL, SERVICE_OF_PROVIDER, sysmonCategories } from './windows-channels.ts'
import {
  isRecord,
  nestedHeader,
  windowsBeat,
  windowsBeatProcess,
  windowsBeatScanner,
  windowsFlat,
  windowsFlatProcess,
  windowsFlatScanner,
  windowsNested,
  windowsNestedProcess,
  windowsNestedScanner,
  windowsOldBeat,
  windowsOldBeatProcess,
} from './windows-fields.ts'

/** `null`: not known, so no rule is kept away by it. Equal sources are the same object, so that plans can be kept by it. */
export interface EventSource {
  readonly products: readonly string[] | null
  readonly categories: readonly string[] | null
  readonly services: readonly string[] | null
  readonly certain: boolean
  readonly shape: FieldShape
}

/** Sources kept as objects; an event that would add more shares the one of its kind without a service. */
const MAX_SOURCES = 1_024
/** Kinds of ECS events whose source is remembered. */
const MAX_MARKS = 4_096
const SYSTEMS: ReadonlySet<string> = new Set(['windows', 'linux', 'macos'])
/** Categories that this file can recognise: for others, an uncertain event proves nothing. */
const RECOGNISED: ReadonlySet<string> = new Set([
  'process_creation',
  'process_termination',
  'process_access',
  'create_remote_thread',
  'network_connection',
  'dns_query',
  'file_event',
  'file_change',
  'file_delete',
  'file_rename',
  'file_access',
  'image_load',
  'driver_load',
  'pipe_created',
  'registry_event',
  'registry_add',
  'registry_delete',
  'registry_set',
  'registry_rename',
  'ps_script',
  'ps_module',
])

/** May a rule for `wanted` be tried on an event of `source`? */
export function admits(source: EventSource, wanted: LogSource): boolean {
  return (
    (wanted.category === null || fits(source.categories, wanted.category, source.certain, RECOGNISED)) &&
    (wanted.product === null || fits(source.products, wanted.product, source.certain, SYSTEMS)) &&
    (wanted.service === null || source.services === null || source.services.includes(wanted.service))
  )
}

function fits(
  known: readonly string[] | null,
  wanted: string,
  certain: boolean,
  telling: ReadonlySet<string>,
): boolean {
  return known === null || known.includes(wanted) || (!certain && !telling.has(wanted))
}

export interface Recogniser {
  sourceOf(event: SigmaEvent): EventSource
}

export function createRecogniser(): Recogniser {
  return new FieldRecogniser()
}

const flatShape = mappedShape('flat', {})
const dataset = pathAccessor('event.dataset')
const provider = pathAccessor('event.provider')
const category = pathAccessor('event.category')
const eventType = pathAccessor('event.type')
const action = pathAccessor('event.action')
const systemType = pathAccessor('host.os.type')
const systemPlatform = pathAccessor('host.os.platform')
const systemFamily = pathAccessor('host.os.family')
const filePath = pathAccessor('file.path')
const protocol = pathAccessor('network.protocol')
const processName = pathAccessor('process.name')
const executable = pathAccessor('process.executable')

type Form = 'flat' | 'nested' | 'beat' | 'old-beat'

/** What is known of one channel, or of one provider where the channel is lost. */
interface WindowsLog {
  readonly form: Form
  readonly service: string | null
  /** For events that are no generic category. */
  readonly plain: EventSource
  readonly byId: Map<number, EventSource>
}

class FieldRecogniser implements Recogniser {
  readonly #sources = new Map<string, EventSource>()
  /** By data set and the bits of `ecsMarks`: the sources of ECS are not worked out for each event. */
  readonly #byMarks = new Map<string, Map<number, EventSource>>()
  #marks = 0
  readonly #byChannel = {
    flat: new Map<string, WindowsLog>(),
    nested: new Map<string, WindowsLog>(),
    beat: new Map<string, WindowsLog>(),
    'old-beat': new Map<string, WindowsLog>(),
  }
  readonly #byProvider = {
    flat: new Map<string, WindowsLog>(),
    nested: new Map<string, WindowsLog>(),
    beat: new Map<string, WindowsLog>(),
    'old-beat': new Map<string, WindowsLog>(),
  }

  sourceOf(event: SigmaEvent): EventSource {
    if (isRecord(event.Event) || isRecord(event.System)) return this.#nested(event)
    if (isRecord(event.winlog)) return this.#beat(event)
    if (typeof event.log_name === 'string' && event.event_id !== undefined) return this.#oldBeat(event)
    if (event.EventID !== undefined || typeof event.Channel === 'string') return this.#flatWindows(event)
    if (isEcs(event)) return this.#ecs(event)
    return this.#guess(event)
  }

  #flatWindows(event: SigmaEvent): EventSource {
    const from = event.Provider_Name ?? event.SourceName ?? event.Provider ?? event.ProviderName
    const name = isRecord(from) ? from.Name : from
    return this.#windows(event.Channel, name, event.EventID, event.EventType, 'flat')
  }

  #nested(event: SigmaEvent): EventSource {
    const { channel, id, provider: name, data } = nestedHeader(event)
    return this.#windows(channel, name, id, isRecord(data) ? data.EventType : undefined, 'nested')
  }

  #beat(event: SigmaEvent): EventSource {
    const log = event.winlog as SigmaEvent
    const data = isRecord(log.event_data) ? log.event_data : {}
    return this.#windows(log.channel, log.provider_name, log.event_id, data.EventType, 'beat')
  }

  #oldBeat(event: SigmaEvent): EventSource {
    const data = isRecord(event.event_data) ? event.event_data : {}
    return this.#windows(event.log_name, event.source_name, event.event_id, data.EventType, 'old-beat')
  }

  #windows(channel: unknown, name: unknown, id: unknown, type: unknown, form: Form): EventSource {
    const log = this.#logOf(channel, name, form)
    const eventId = typeof id === 'number' ? id : Number(id)
    const { service } = log
    if (service === null) return log.plain
    // Id 12 of Sysmon is three things; `EventType` says which.
    if (service === 'sysmon' && eventId === 12)
      return this.#category(log, sysmonCategories(12, typeof type === 'string' ? type : ''))
    const known = log.byId.get(eventId)
    if (known !== undefined) return known
    const categories =
      service === 'sysmon' ? sysmonCategories(eventId, '') : (CATEGORIES_OF_SERVICE[service]?.get(eventId) ?? [])
    if (categories.length === 0) return log.plain
    const source = this.#category(log, categories)
    log.byId.set(eventId, source)
    return source
  }

  #category(log: WindowsLog, categories: readonly string[]): EventSource {
    const { form, plain, service } = log
    return this.#source(`${form}:${plain.products?.join() ?? ''}:${service}:${categories.join()}`, () => ({
      ...plain,
      categories,
      shape: shapeFor(form, service === 'sysmon' ? [] : categories),
    }))
  }

  #logOf(channel: unknown, name: unknown, form: Form): WindowsLog {
    const marked = typeof channel === 'string' && channel !== ''
    const text = marked ? channel : typeof name === 'string' ? name : ''
    const logs = marked ? this.#byChannel[form] : this.#byProvider[form]
    const known = logs.get(text)
    if (known !== undefined) return known
    const service = (marked ? SERVICE_OF_CHANNEL : SERVICE_OF_PROVIDER).get(text.toLowerCase()) ?? null
    // Neither a channel nor a provider that tells: a Windows record, and no more is known.
    const told = marked || service !== null
    const product = text.startsWith('Linux-') ? 'linux' : 'windows'
    const plain = this.#source(`${form}:${product}:${service ?? ''}:${told}`, () => ({
      products: [product],
      categories: told ? [] : null,
      services: told ? (service === null ? [] : [service]) : null,
      certain: told,
      shape: shapeFor(form, []),
    }))
    const log = { form, service, plain, byId: new Map<number, EventSource>() }
    if (logs.size < MAX_SOURCES) logs.set(text, log)
    return log
  }

  #ecs(event: SigmaEvent): EventSource {
    const marks = ecsMarks(event)
    if (marks === undefined) return this.#ecsSource(event)
    const known = this.#byMarks.get(marks.dataset)?.get(marks.bits)
    if (known !== undefined) return known
    const source = this.#ecsSource(event)
    if (this.#marks < MAX_MARKS) {
      const sources = this.#byMarks.get(marks.dataset) ?? new Map<number, EventSource>()
      this.#byMarks.set(marks.dataset, sources.set(marks.bits, source))
      this.#marks++
    }
    return source
  }

  #ecsSource(event: SigmaEvent): EventSource {
    const categories = ecsCategories(event)
    const [product, service] = datasetOf(event)
    const services = ecsServices(event)
    const ofSystem = categories.length + services.length > 0
    if (service !== null) services.push(service)
    const audited = isRecord(event['auditd'])
    if (audited) services.push('auditd')
    const own = event['firebreak']
    const recorded = audited || (isRecord(own) && isRecord(own['record']))
    const kinds = ecsProducts(systemOf(event), product, ofSystem)
    return this.#source(`ecs:${kinds?.join() ?? ''}:${categories.join()}:${services.join()}:${recorded}`, () => ({
      products: kinds,
      categories,
      services,
      certain: categories.length > 0 || services.length > 0,
      shape: recorded ? ecsWithRecordShape : ecsShape,
    }))
  }

  #guess(event: SigmaEvent): EventSource {
    if (typeof event.type === 'string' && AUDIT_TYPES.has(event.type.toUpperCase())) {
      return this.#source('audit', () => ({
        products: ['linux'],
        categories: null,
        services: ['auditd'],
        certain: false,
        shape: flatShape,
      }))
    }
    const categories = guessCategories(event)
    const products = guessProducts(event)
    return this.#source(`guess:${products?.join() ?? ''}:${categories?.join() ?? ''}`, () => ({
      products,
      categories,
      services: null,
      certain: false,
      shape: flatShape,
    }))
  }

  #source(key: string, make: () => EventSource): EventSource {
    const known = this.#sources.get(key)
    if (known !== undefined) return known
    if (this.#sources.size >= MAX_SOURCES) return UNKNOWN
    const source = make()
    this.#sources.set(key, source)
    return source
  }
}

const UNKNOWN: EventSource = {
  products: null,
  categories: null,
  services: null,
  certain: false,
  shape: mappedShape('unknown', {}),
}

function shapeFor(form: Form, categories: readonly string[]): FieldShape {
  const process = categories.includes('process_creation')
  if (form === 'beat') {
    if (process) return windowsBeatProcess
    return categories.includes('antivirus') ? windowsBeatScanner : windowsBeat
  }
  if (form === 'old-beat') return process ? windowsOldBeatProcess : windowsOldBeat
  const nested = form === 'nested'
  if (process) return nested ? windowsNestedProcess : windowsFlatProcess
  if (categories.includes('antivirus')) return nested ? windowsNestedScanner : windowsFlatScanner
  return nested ? windowsNested : windowsFlat
}

function isEcs(event: SigmaEvent): boolean {
  return isRecord(event.event) || category(event) !== undefined || dataset(event) !== undefined
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]
}

function ecsCategories(event: SigmaEvent): string[] {
  const kinds = listOf(category(event))
  const types = listOf(eventType(event))
  const did = action(event)
  const found: string[] = []
  const has = (type: string) => types.includes(type)
  if (kinds.includes('process')) {
    if (has('start')) found.push('process_creation')
    if (has('end')) found.push('process_termination')
  }
  if (kinds.includes('file')) found.push(...fileCategories(has, did))
  if (kinds.includes('network')) {
    if (protocol(event) === 'dns') found.push('dns_query')
    else if (has('connection') || has('start') || has('allowed')) found.push('network_connection')
  }
  if (kinds.includes('registry'))
    found.push(
      'registry_event',
      has('deletion') ? 'registry_delete' : has('creation') ? 'registry_add' : 'registry_set',
    )
  if (kinds.includes('library')) found.push('image_load')
  if (kinds.includes('driver')) found.push('driver_load')
  return found
}

function fileCategories(has: (type: string) => boolean, did: unknown): string[] {
  const found: string[] = []
  if (typeof did === 'string' && did.includes('rename')) found.push('file_rename')
  if (has('creation') || has('change')) found.push('file_event')
  if (has('change')) found.push('file_change')
  if (has('deletion')) found.push('file_delete')
  if (has('access')) found.push('file_access')
  return found
}

const LOGIN_SERVICES = ['sshd', 'sudo', 'cron', 'auditd', 'vsftpd'] as const

function ecsServices(event: SigmaEvent): string[] {
  const kinds = listOf(category(event))
  if (!kinds.includes('authentication') && !kinds.includes('session')) return []
  const hints = [provider(event), processName(event), action(event)].filter((hint) => typeof hint === 'string')
  return ['auth', ...LOGIN_SERVICES.filter((service) => hints.some((hint) => hint.includes(service)))]
}

/** `product.service` of a data set, where it is written so. */
function datasetOf(event: SigmaEvent): readonly [string | null, string | null] {
  const text = dataset(event)
  if (typeof text !== 'string' || text.length > 64) return [null, null]
  const parts = /^([a-z0-9_-]+)(?:\.([a-z0-9_.-]+))?$/.exec(text)
  return [parts?.[1] ?? null, parts?.[2] ?? null]
}

/** The operating system, where the event tells it. */
function systemOf(event: SigmaEvent): string | null {
  for (const told of [systemType(event), systemPlatform(event), systemFamily(event)]) {
    const name = typeof told === 'string' ? (told === 'darwin' ? 'macos' : told) : ''
    if (SYSTEMS.has(name)) return name
  }
  for (const path of [executable(event), processName(event), filePath(event)]) {
    if (typeof path !== 'string') continue
    if (isWindowsPath(path) || /\.(exe|dll)$/i.test(path)) return 'windows'
    if (path.startsWith('/')) return 'linux'
  }
  return listOf(category(event)).includes('registry') ? 'windows' : null
}

/** `null`: what happened to a process, a file or an account of a system that the event does not name. */
function ecsProducts(named: string | null, product: string | null, ofSystem: boolean): readonly string[] | null {
  // What the agent says of itself is no event of the operating system; the others of its events are of Linux.
  if (product === 'firebreak' && !ofSystem) return [product]
  const system = named ?? (product === 'firebreak' ? 'linux' : null)
  if (system === null) return product === null || ofSystem ? null : [product]
  return product === null || product === system ? [system] : [system, product]
}

/** Fields that tell what a record without any mark is about; the first that is there decides. */
const TELLING: readonly (readonly [string, readonly string[]])[] = [
  ['TargetObject', ['registry_event', 'registry_add', 'registry_delete', 'registry_set', 'registry_rename']],
  ['PipeName', ['pipe_created']],
  ['ImageLoaded', ['image_load', 'driver_load']],
  ['QueryName', ['dns_query']],
  ['TargetImage', ['process_access', 'create_remote_thread']],
  ['DestinationIp', ['network_connection']],
  ['DestinationHostname', ['network_connection']],
  ['DestinationPort', ['network_connection']],
  ['TargetFilename', ['file_event', 'file_change', 'file_delete', 'file_rename', 'file_access', 'create_stream_hash']],
  ['ScriptBlockText', ['ps_script']],
  ['CommandLine', ['process_creation']],
  ['ParentImage', ['process_creation']],
  ['ParentCommandLine', ['process_creation']],
]

function guessCategories(event: SigmaEvent): readonly string[] | null {
  for (const [field, categories] of TELLING) if (event[field] !== undefined) return categories
  return null
}

const PATH_FIELDS = ['Image', 'ParentImage', 'TargetFilename', 'ImageLoaded'] as const

function guessProducts(event: SigmaEvent): readonly string[] | null {
  for (const field of PATH_FIELDS) {
    const path = event[field]
    if (typeof path !== 'string') continue
    if (path.startsWith('/')) return UNIX
    if (isWindowsPath(path)) return WINDOWS
  }
  return null
}

const UNIX = ['linux', 'macos'] as const
const WINDOWS = ['windows'] as const

function isWindowsPath(path: string): boolean {
  return path[1] === ':' || path.startsWith('\\')
}

const AUDIT_TYPES: ReadonlySet<string> = new Set([
  'SYSCALL',
  'EXECVE',
  'PATH',
  'CWD',
  'PROCTITLE',
  'USER_CMD',
  'USER_AUTH',
  'USER_LOGIN',
  'ADD_USER',
  'DEL_USER',
  'SERVICE_START',
  'SERVICE_STOP',
  'CONFIG_CHANGE',
])
