const HEX_ID = /(?:^|[-/:])([0-9a-f]{64})(?:\.scope)?(?:\/|$)/
const NAMED = /(?:^|\/)(?:lxc(?:\.payload)?[./]|machine\.slice\/machine-)([A-Za-z0-9_.\\-]{1,128}?)(?:\.scope)?(?:\/|$)/

/**
 * The container that a control group belongs to: the id that Docker, containerd, CRI-O and Podman put into its path, or the name of an
 * LXC container or a systemd machine. Undefined for what runs on the host itself.
 */
export function containerIdOf(cgroup: string): string | undefined {
  const id = HEX_ID.exec(cgroup)?.[1] ?? NAMED.exec(cgroup)?.[1]
  // systemd escapes a dash in the name of a unit (systemd.unit(5)).
  return id?.replaceAll('\\x2d', '-')
}
