import { expect, it } from 'vitest'
import { containerIdOf } from './container-id.ts'

const ID = '3f4e'.repeat(16)

it.each([
  ['Docker with systemd', `/system.slice/docker-${ID}.scope`, ID],
  ['Docker with cgroupfs', `/docker/${ID}`, ID],
  ['Kubernetes with containerd', `/kubepods.slice/kubepods-pod1.slice/cri-containerd-${ID}.scope`, ID],
  ['Kubernetes with CRI-O', `/kubepods.slice/kubepods-besteffort.slice/crio-${ID}.scope`, ID],
  ['containerd with its own separator', `/kubepods-burstable-pod1.slice:cri-containerd:${ID}`, ID],
  ['Podman, deeper inside', `/machine.slice/libpod-${ID}.scope/container`, ID],
  ['LXC', '/lxc.payload.web-1/system.slice/cron.service', 'web-1'],
  ['a systemd machine', '/machine.slice/machine-web\\x2d1.scope/payload', 'web-1'],
])('names the container of %s', (_, cgroup, id) => {
  expect(containerIdOf(cgroup)).toBe(id)
})

it.each(['/', '/user.slice/user-0.slice/session-1.scope', '/system.slice/docker.service', `/x/${ID}0`])(
  'does not take %s for a container',
  (cgroup) => expect(containerIdOf(cgroup)).toBeUndefined(),
)
