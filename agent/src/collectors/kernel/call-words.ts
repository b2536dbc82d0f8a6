/** Numbers of the kernel's interface in words. Source: include/uapi/linux/{ptrace,bpf,mount,sched}.h of Linux 6.18. */
const PTRACE: Readonly<Record<number, string>> = {
  0: 'PTRACE_TRACEME',
  4: 'PTRACE_POKETEXT',
  5: 'PTRACE_POKEDATA',
  6: 'PTRACE_POKEUSER',
  13: 'PTRACE_SETREGS',
  15: 'PTRACE_SETFPREGS',
  16: 'PTRACE_ATTACH',
  0x4205: 'PTRACE_SETREGSET',
  0x4206: 'PTRACE_SEIZE',
}
const BPF_TYPES = [
  'unspec',
  'socket_filter',
  'kprobe',
  'sched_cls',
  'sched_act',
  'tracepoint',
  'xdp',
  'perf_event',
  'cgroup_skb',
  'cgroup_sock',
  'lwt_in',
  'lwt_out',
  'lwt_xmit',
  'sock_ops',
  'sk_skb',
  'cgroup_device',
  'sk_msg',
  'raw_tracepoint',
  'cgroup_sock_addr',
  'lwt_seg6local',
  'lirc_mode2',
  'sk_reuseport',
  'flow_dissector',
  'cgroup_sysctl',
  'raw_tracepoint_writable',
  'cgroup_sockopt',
  'tracing',
  'struct_ops',
  'ext',
  'lsm',
  'sk_lookup',
  'syscall',
  'netfilter',
]
const MOUNT_FLAGS: readonly (readonly [bigint, string])[] = [
  [1n, 'ro'],
  [2n, 'nosuid'],
  [4n, 'nodev'],
  [8n, 'noexec'],
  [32n, 'remount'],
  [4_096n, 'bind'],
  [8_192n, 'move'],
  [16_384n, 'rec'],
  [1n << 17n, 'unbindable'],
  [1n << 18n, 'private'],
  [1n << 19n, 'slave'],
  [1n << 20n, 'shared'],
]
const CLONE_FLAGS: readonly (readonly [bigint, string])[] = [
  [0x80n, 'time'],
  [0x2_0000n, 'mnt'],
  [0x200_0000n, 'cgroup'],
  [0x400_0000n, 'uts'],
  [0x800_0000n, 'ipc'],
  [0x1000_0000n, 'user'],
  [0x2000_0000n, 'pid'],
  [0x4000_0000n, 'net'],
]

export function ptraceRequest(request: number): string {
  return PTRACE[request] ?? `PTRACE ${request}`
}

export function bpfProgramType(type: number): string {
  return BPF_TYPES[type] ?? `type ${type}`
}

export function mountFlags(flags: bigint): string | undefined {
  return wordsOf(flags, MOUNT_FLAGS)
}

/** Which namespaces. */
export function cloneFlags(flags: bigint): string | undefined {
  return wordsOf(flags, CLONE_FLAGS)
}

function wordsOf(flags: bigint, words: readonly (readonly [bigint, string])[]): string | undefined {
  const set = words.filter(([bit]) => (flags & bit) !== 0n).map(([, word]) => word)
  return set.length > 0 ? set.join(',') : undefined
}
