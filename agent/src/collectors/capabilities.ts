/** Names of capabilities(7), in the order of their bits (include/uapi/linux/capability.h). */
const NAMES = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'LINUX_IMMUTABLE',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'NET_RAW',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_MODULE',
  'SYS_RAWIO',
  'SYS_CHROOT',
  'SYS_PTRACE',
  'SYS_PACCT',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'MKNOD',
  'LEASE',
  'AUDIT_WRITE',
  'AUDIT_CONTROL',
  'SETFCAP',
  'MAC_OVERRIDE',
  'MAC_ADMIN',
  'SYSLOG',
  'WAKE_ALARM',
  'BLOCK_SUSPEND',
  'AUDIT_READ',
  'PERFMON',
  'BPF',
  'CHECKPOINT_RESTORE',
].map((name) => `CAP_${name}`)
const MAX_KNOWN = 256

const known = new Map<bigint, readonly string[]>()

/** Bits that have no name yet are told by their number. */
export function capabilityNames(bits: bigint): readonly string[] {
  const names = known.get(bits)
  if (names) return names
  const made: string[] = []
  for (let bit = 0; bits >> BigInt(bit) > 0n; bit++)
    if ((bits >> BigInt(bit)) & 1n) made.push(NAMES[bit] ?? `CAP_${bit}`)
  if (known.size >= MAX_KNOWN) known.clear()
  known.set(bits, made)
  return made
}
