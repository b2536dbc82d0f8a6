import { afterEach, beforeEach, expect, it } from 'vitest'
import { FakeProcfs } from '../procfs.fake.ts'
import { containersSource } from './containers.ts'

let host: FakeProcfs
beforeEach(() => {
  host = new FakeProcfs()
})
afterEach(() => host[Symbol.dispose]())

it('knows the containers of docker, podman, containerd and systemd by what they keep on disk, and no secrets of them', async () => {
  const id = 'c0ffee'.padEnd(64, '0')
  host.write(
    `var/lib/docker/containers/${id}/config.v2.json`,
    JSON.stringify({
      ID: id,
      Name: '/web',
      Image: 'sha256:abc',
      Path: 'nginx',
      Args: ['-g', 'daemon off;'],
      Config: { Image: 'nginx:1.27', Env: ['TOKEN=hunter2'] },
      State: { Running: true, Pid: 4711 },
    }),
  )
  host.write(
    `var/lib/docker/containers/${id}/hostconfig.json`,
    JSON.stringify({ Privileged: true, NetworkMode: 'host', Binds: ['/:/host'], CapAdd: ['SYS_ADMIN'] }),
  )
  host.write(
    'var/lib/containers/storage/overlay-containers/containers.json',
    JSON.stringify([
      {
        id: 'ab',
        names: ['db'],
        image: 'feed',
        metadata: JSON.stringify({ 'image-name': 'docker.io/library/postgres:16' }),
      },
    ]),
  )
  host.write(
    'run/containerd/io.containerd.runtime.v2.task/k8s.io/deadbeef/config.json',
    JSON.stringify({
      process: { args: ['/app'], env: ['PASSWORD=hunter2'], capabilities: { bounding: ['CAP_CHOWN'] } },
      annotations: {
        'io.kubernetes.cri.container-name': 'api',
        'io.kubernetes.cri.sandbox-name': 'api-7f9',
        'io.kubernetes.cri.image-name': 'api:2',
      },
    }),
  )
  host.write(
    'run/systemd/machines/build',
    'NAME=build\nSCOPE=machine-build.scope\nCLASS=container\nROOT=/var/lib/machines/build\nLEADER=812\n',
  )
  const { items, troubles } = await containersSource(host, 100).read()
  expect(troubles).toEqual([])
  expect(JSON.stringify(items)).not.toContain('hunter2')
  expect(items.map(({ facts, loose }) => ({ ...facts, ...loose }))).toEqual([
    {
      runtime: 'docker', id, name: 'web', image: 'nginx:1.27', image_id: 'sha256:abc', command: 'nginx -g daemon off;',
      running: true, privileged: true, network: 'host', binds: ['/:/host'], capabilities: ['SYS_ADMIN'], pid: 4711,
    },
    { runtime: 'containers-storage', id: 'ab', name: 'db', image: 'docker.io/library/postgres:16', image_id: 'feed' },
    {
      runtime: 'containerd', id: 'deadbeef', name: 'api', image: 'api:2', command: '/app', running: true, privileged: false,
      namespace: 'k8s.io', pod: 'api-7f9',
    },
    { runtime: 'systemd', id: 'build', name: 'build', image: '/var/lib/machines/build', class: 'container', unit: 'machine-build.scope', running: true, pid: 812 },
  ]) // biome-ignore format: a table
})

it('sees a container start and stop by the file that its engine writes, and names what it cannot understand', async () => {
  const file = 'var/lib/docker/containers/a1/config.v2.json'
  const source = containersSource(host, 100)
  host.write(file, JSON.stringify({ ID: 'a1', State: { Running: true } }))
  const version = await source.version()
  expect((await source.read()).items[0]?.facts['running']).toBe(true)
  host.write(file, JSON.stringify({ ID: 'a1', State: { Running: false } }))
  expect(await source.version()).not.toBe(version)
  expect((await source.read()).items[0]?.facts['running']).toBe(false)
  host.write(file, '{"ID":')
  expect((await source.read()).troubles).toEqual([expect.stringMatching(/no JSON/)])
})
