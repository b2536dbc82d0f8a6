/** What engines write down about their containers. Environment variables are left out: they hold secrets. */
import { present } from '../present.ts'
import type { Item } from './source.ts'

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** config.v2.json and hostconfig.json of moby; fields as in its `container.Container` and `HostConfig`. */
export function dockerContainer(config: unknown, host: unknown): Item | undefined {
  if (!isRecord(config) || !isRecord(config['State'])) return undefined
  const id = textOf(config['ID'])
  if (id === undefined) return undefined
  const settings = recordOf(config['Config'])
  const limits = recordOf(host)
  const state = config['State']
  const network = textOf(limits['NetworkMode'])
  return containerItem('docker', id, {
    name: textOf(config['Name'])?.replace(/^\//, ''),
    image: textOf(settings['Image']),
    image_id: textOf(config['Image']),
    command: [textOf(config['Path']), ...textsOf(config['Args'])].filter((part) => part !== undefined).join(' '),
    running: state['Running'] === true,
    privileged: limits['Privileged'] === true,
    network,
    pid_mode: textOf(limits['PidMode']),
    binds: textsOf(limits['Binds']),
    capabilities: textsOf(limits['CapAdd']),
    pid: typeof state['Pid'] === 'number' && state['Pid'] > 0 ? state['Pid'] : undefined,
  })
}

/** containers.json of containers/storage: what podman and CRI-O have; whether it runs is not in it. */
export function storageContainers(list: unknown): Item[] {
  return (Array.isArray(list) ? list : []).flatMap((one: unknown) => {
    if (!isRecord(one)) return []
    const id = textOf(one['id'])
    const metadata = parsed(textOf(one['metadata']))
    const item =
      id === undefined
        ? undefined
        : containerItem('containers-storage', id, {
            name: textsOf(one['names'])[0],
            image: textOf(metadata['image-name']),
            image_id: textOf(one['image']),
          })
    return item ? [item] : []
  })
}

/** The bundle of a running task: config.json of the OCI runtime specification. */
export function containerdTask(space: string, id: string, spec: unknown): Item | undefined {
  if (!isRecord(spec)) return undefined
  const notes = recordOf(spec['annotations'])
  const process = recordOf(spec['process'])
  const capabilities = textsOf(recordOf(process['capabilities'])['bounding'])
  const pod = textOf(notes['io.kubernetes.cri.sandbox-name'])
  const name = textOf(notes['io.kubernetes.cri.container-name']) ?? textOf(notes['nerdctl/name'])
  return containerItem('containerd', id, {
    name: name ?? id,
    image: textOf(notes['io.kubernetes.cri.image-name']),
    command: textsOf(process['args']).join(' '),
    running: true,
    // What `privileged` comes down to: nothing is withheld.
    privileged: capabilities.includes('CAP_SYS_ADMIN'),
    namespace: space,
    pod,
  })
}

/** `NAME=value` lines that systemd-machined keeps. */
export function systemdMachine(name: string, text: string): Item | undefined {
  const value = (key: string) => new RegExp(`^${key}="?([^"\\n]{0,1024})"?$`, 'm').exec(text)?.[1] || undefined
  const machine = value('NAME') ?? name
  return containerItem('systemd', machine, {
    name: machine,
    image: value('ROOT'),
    class: value('CLASS'),
    unit: value('UNIT') ?? value('SCOPE'),
    running: true,
    pid: numberOf(value('LEADER')),
  })
}

type Known = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>

function containerItem(runtime: string, id: string, { pid, ...known }: Known): Item {
  const facts: Record<string, string | number | boolean | string[]> = { runtime, id: id.slice(0, 128) }
  for (const [name, value] of Object.entries(known)) {
    if (value === undefined || value === '' || (Array.isArray(value) && value.length === 0)) continue
    facts[name] = Array.isArray(value)
      ? value.slice(0, 32)
      : typeof value === 'string'
        ? value.slice(0, 2_048)
        : (value as number | boolean)
  }
  const label = [facts['name'] ?? id.slice(0, 12), facts['image']].filter((part) => part !== undefined).join(' ')
  return {
    key: `${runtime}|${id}`,
    label: `${label} (${runtime})`.slice(0, 512),
    facts,
    loose: present({ pid: typeof pid === 'number' ? pid : undefined }),
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, 2_048) : undefined
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value)
    ? value
        .filter((one) => typeof one === 'string')
        .slice(0, 64)
        .map((one) => one.slice(0, 1_024))
    : []
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {}
}

function parsed(text: string | undefined): Readonly<Record<string, unknown>> {
  if (text === undefined) return {}
  try {
    return recordOf(JSON.parse(text))
  } catch {
    return {}
  }
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined
}
