/* What the kernel sensor writes: every byte of every record, once. The programs in the kernel, the process that forwards and the
 * decoder (agent/src/collectors/kernel/decode-record.ts) follow this file.
 *
 * Output (stdout): frames. A frame is a u32 length, then so many bytes: one record. All numbers are little endian. A record is
 *   struct fb_header (160 bytes), the fixed body of its kind, the strings of its kind in the order given here.
 * A string is u32 stored, u32 total, then `stored` bytes as the kernel had them (no terminator; newlines, invalid UTF-8 and, between
 * arguments, NUL are kept). stored < total: cut or not readable; total FB_TOTAL_UNKNOWN: longer than could be measured.
 * A path that does not begin with "/" has lost its first folders (deeper than FB_PATH_DEPTH, longer than FB_PATH_MAX), or is the name of
 * a file without a place ("memfd:name"; its total is known).
 *
 * Every struct is free of padding; the sizes are asserted below. A change of any of this is a new FB_PROTOCOL_VERSION. */
#ifndef FIREBREAK_RECORDS_H
#define FIREBREAK_RECORDS_H

#include <linux/types.h>

#define FB_PROTOCOL_VERSION 1

#define FB_ARGV_MAX 32768
#define FB_PATH_MAX 4096
#define FB_PATH_DEPTH 128
#define FB_DNS_MAX 512
#define FB_TEXT_MAX 256
#define FB_TOTAL_UNKNOWN 0xffffffffu
#define FB_UID_NONE 0xffffffffu

/* Longest frame the sensor may write. */
#define FB_RECORD_MAX 65536

enum fb_kind {
	/* Of the forwarding process, header with time, version and kind only. */
	FB_HELLO = 1,      /* struct fb_hello; strings: sensor version, kernel release; then per source: struct fb_source, string: reason */
	FB_STATS = 2,      /* struct fb_stats */
	FB_CONFIGURED = 3, /* struct fb_configured; then per path: u32 errno (0: watched), string: path */

	/* class process */
	FB_EXEC = 16, /* struct fb_exec; strings: executable, file name as given, interpreter, working folder, arguments, cgroup path */
	FB_EXIT = 17, /* struct fb_exit; strings: none */
	FB_FORK = 18, /* struct fb_fork; the header is the child's; strings: none */

	/* class network: struct fb_socket; strings: payload (DNS only, else empty) */
	FB_TCP_CONNECT = 32, /* connect(2) was called; the local port may not be chosen yet (0) */
	FB_TCP_ESTABLISHED = 33, /* the peer answered that SYN */
	FB_TCP_ACCEPT = 34, /* accept(2) returned it */
	FB_TCP_LISTEN = 35,
	FB_TCP_CLOSE = 36, /* with bytes each way, also of attempts that failed (error, old_state SYN_SENT) */
	FB_UDP_FLOW = 37, /* first datagram of a process to this peer */
	FB_DNS_SENT = 38, /* datagram to port 53 */
	FB_DNS_RECEIVED = 39, /* datagram from port 53 */

	/* class file: struct fb_file; strings: path, other path (rename: new, link: new, symlink: what it points to; else empty) */
	FB_FILE_CREATE = 48,
	FB_FILE_WRITE = 49, /* closed after a change of its content */
	FB_FILE_RENAME = 50,
	FB_FILE_UNLINK = 51,
	FB_FILE_LINK = 52,
	FB_FILE_SYMLINK = 53,
	FB_FILE_CHMOD = 54,
	FB_FILE_CHOWN = 55,
	FB_FILE_MKDIR = 56,
	FB_FILE_RMDIR = 57,
	FB_FILE_CAPABILITY = 58, /* security.capability set or removed */

	/* class process: struct fb_kernel_call; strings: name, path, detail */
	FB_MEMFD_CREATE = 64, /* args: flags; name: name */
	FB_PTRACE = 65, /* args: request, pid as the caller names it; target */
	FB_PROCESS_WRITE = 66, /* process_vm_writev, once per pair; args: bytes, pid as the caller names it; target */
	FB_MODULE_LOAD = 67, /* path: file (finit_module), detail: parameters */
	FB_MODULE_UNLOAD = 68, /* name */
	FB_BPF_LOAD = 69, /* args: program type, instructions; name: program */
	FB_MOUNT = 70, /* args: flags; name: file system type; path: where; detail: source */
	FB_UNMOUNT = 71, /* args: flags; path: where */
	FB_CREDENTIALS = 72, /* set*id(2), capset(2): old_* before, header after; args: system call number */
	FB_SETNS = 73, /* args: type asked for; path: of the descriptor; the header has the namespaces after */
	FB_UNSHARE = 74, /* args: flags */
	FB_PIVOT_ROOT = 75, /* path: new root; detail: where the old goes. chroot(2): path only, args: 1 */
};

enum fb_class { FB_CLASS_PROCESS = 0, FB_CLASS_NETWORK = 1, FB_CLASS_FILE = 2, FB_CLASSES = 3 };

/* header.flags */
#define FB_NO_ACTOR 0x1u      /* nobody's: pid to comm are zero (a socket whose owner is not known) */
#define FB_PATH_SPELLED 0x2u  /* the path is the folder it starts from and what the program wrote, `.` and `..` taken out; symbolic links in it not followed */
#define FB_SETUID_BITS 0x4u   /* file events: the mode has set-user-id or set-group-id */

struct fb_header {
	__u16 version;
	__u16 kind;
	__u32 flags;
	__u64 seq; /* of this CPU and class, from 1, counted also for what was dropped; 0 for records of the forwarding process */
	__u64 monotonic_ns;
	__u64 boottime_ns;
	__u32 cpu;
	__u32 tid; /* pids as the sensor's pid namespace sees them */
	__u32 pid;
	__u32 ppid; /* 0: outside of this namespace */
	__u64 start_boottime_ns; /* in ticks of 10 ms it is field 22 of /proc/PID/stat */
	__u64 parent_start_boottime_ns;
	__u32 uid;
	__u32 gid;
	__u32 euid;
	__u32 egid;
	__u32 login_uid; /* FB_UID_NONE: never logged in */
	__u32 audit_session;
	__u32 session; /* pid of the session's leader; 0: outside of this namespace */
	__u32 tty; /* major << 20 | minor; 0: none */
	__u64 cgroup; /* id in the v2 hierarchy: the inode number of its folder */
	__u32 pid_ns;
	__u32 mnt_ns;
	__u32 net_ns;
	__u32 user_ns;
	__u32 uts_ns;
	__u32 ipc_ns;
	__u32 cgroup_ns;
	__u32 inner_pid; /* the pid as the process itself sees it */
	__u64 cap_effective;
	__u8 comm[16];
};

struct fb_exec {
	__u64 inode;
	__u64 mtime_ns;
	__u64 ctime_ns;
	__u64 size;
	__u32 device; /* major << 20 | minor of the file system */
	__u32 mode;
	__u32 owner_uid;
	__u32 owner_gid;
	__u32 links;
	__u32 flags; /* FB_EXEC_* */
	__u32 argc;
	__u32 old_tid; /* in the initial namespace: differs from the pid when another thread than the first called execve */
	__u64 cap_permitted;
};
#define FB_EXEC_MEMFD 0x1u
#define FB_EXEC_DELETED 0x2u    /* no name leads to it any more */
#define FB_EXEC_SECURE 0x4u     /* privileges were gained: set-user-id, set-group-id or file capabilities */
#define FB_EXEC_SCRIPT 0x8u     /* the file as given is a script: `executable` is its interpreter */

struct fb_exit {
	__u32 code; /* 0..255 */
	__u32 signal; /* 0: none */
	__u32 core_dumped;
	__u32 reserved;
	__u64 runtime_ns;
};

struct fb_fork {
	__u32 caller_pid; /* who called; the parent too, but under CLONE_PARENT */
	__u32 new_namespaces; /* 1: the child is not in all namespaces of the caller */
	__u64 caller_start_boottime_ns;
};

struct fb_socket {
	__u16 family; /* 2: IPv4 in the first four bytes; 10: IPv6 */
	__u16 protocol; /* 6, 17 */
	__u16 local_port;
	__u16 remote_port;
	__u8 local_address[16];
	__u8 remote_address[16];
	__u64 socket_id; /* the same in all records of one socket; unique while the sensor runs */
	__u64 bytes_sent; /* acknowledged by the peer; DNS: length of the datagram */
	__u64 bytes_received;
	__u64 duration_ns; /* since connect, accept or listen */
	__u32 error; /* errno; tcp close: why it failed */
	__u32 old_state; /* tcp close: state before, TCP_* of the kernel (2: SYN_SENT) */
	__u32 net_ns; /* the socket's */
	__u32 reserved;
};

struct fb_file {
	__u64 inode; /* 0 with all other facts when FB_PATH_SPELLED */
	__u64 size;
	__u64 mtime_ns;
	__u32 device;
	__u32 mode; /* after; FB_PATH_SPELLED: what was asked for */
	__u32 owner_uid; /* chown: asked for, FB_UID_NONE: unchanged */
	__u32 owner_gid;
	__u32 links;
	__u32 open_flags;
	__u32 old_mode; /* chmod through a descriptor: not known, FB_UID_NONE */
	__u32 reserved;
};

struct fb_kernel_call {
	__s64 result;
	__u64 args[4];
	__u32 target_pid; /* 0: none, or the caller is in another namespace than the sensor */
	__u32 old_uid;
	__u32 old_gid;
	__u32 old_euid;
	__u32 old_egid;
	__u32 reserved;
	__u64 target_start_boottime_ns; /* 0: not known */
	__u64 old_cap_effective;
};

struct fb_hello {
	__u32 pid;
	__u32 pid_ns;
	__u32 sources;
	__u32 ring_bytes[2]; /* process; network and file */
	__u32 reserved;
};

enum fb_source_id {
	FB_SOURCE_EXEC = 0,
	FB_SOURCE_EXIT = 1,
	FB_SOURCE_FORK = 2,
	FB_SOURCE_TCP = 3,
	FB_SOURCE_ACCEPT = 4,
	FB_SOURCE_UDP = 5,
	FB_SOURCE_DNS = 6,
	FB_SOURCE_FILE = 7,
	FB_SOURCE_FILE_WRITE = 8,
	FB_SOURCE_KERNEL_CALL = 9,
	FB_SOURCE_CREDENTIALS = 10,
	FB_SOURCES = 11,
};

struct fb_source {
	__u32 id;
	__u32 attached; /* 1: yes; 0: see error and the string */
	__u32 error; /* errno */
	__u32 reserved;
};

struct fb_class_stats {
	__u64 submitted; /* records that the kernel put into the ring */
	__u64 dropped; /* records for which the ring had no room, or whose program was not allowed to run twice on a CPU */
	__u64 forwarded; /* records that left through stdout */
};

struct fb_stats {
	struct fb_class_stats classes[FB_CLASSES];
};

struct fb_configured {
	__u32 paths;
	__u32 reserved;
};

/* Configuration (stdin): frames too, u32 length, then struct fb_configure, then per path u32 length and bytes (absolute, no NUL).
 * A whole configuration each time: it replaces the one before. Wrong input ends the sensor with status 65 and a line on stderr.
 * End of input ends the sensor with status 0. */
#define FB_PATHS_MAX 64
#define FB_CONFIGURE_MAX (FB_PATHS_MAX * (4 + FB_PATH_MAX) + 64)
struct fb_configure {
	__u32 version; /* FB_PROTOCOL_VERSION */
	__u32 switches; /* FB_SWITCH_* */
	__u32 excluded_pid; /* whose file and DNS events are not told, in the sensor's pid namespace; the sensor's own never are */
	__u32 coalesce_us; /* how long the sensor gathers records after it wrote some; 0..100000 */
	__u32 stats_interval_ms; /* 100..600000 */
	__u32 paths;
};
#define FB_SWITCH_PROCESS 0x1u
#define FB_SWITCH_NETWORK 0x2u
#define FB_SWITCH_DNS 0x4u
#define FB_SWITCH_FILE 0x8u
#define FB_SWITCH_KERNEL_CALLS 0x10u
#define FB_SWITCH_ALL 0x1fu

_Static_assert(sizeof(struct fb_header) == 160, "header");
_Static_assert(sizeof(struct fb_exec) == 72, "exec");
_Static_assert(sizeof(struct fb_exit) == 24, "exit");
_Static_assert(sizeof(struct fb_fork) == 16, "fork");
_Static_assert(sizeof(struct fb_socket) == 88, "socket");
_Static_assert(sizeof(struct fb_file) == 56, "file");
_Static_assert(sizeof(struct fb_kernel_call) == 80, "kernel call");
_Static_assert(sizeof(struct fb_hello) == 24, "hello");
_Static_assert(sizeof(struct fb_source) == 16, "source");
_Static_assert(sizeof(struct fb_stats) == 72, "stats");
_Static_assert(sizeof(struct fb_configure) == 24, "configure");

#endif
