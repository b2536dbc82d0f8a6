/* What the programs in the kernel and the forwarding process share in maps. */
#ifndef FIREBREAK_SHARED_STATE_H
#define FIREBREAK_SHARED_STATE_H

struct fb_settings {
	__u32 switches;     /* FB_SWITCH_*; 0 until configured */
	__u32 own_pid;      /* of the sensor, in its pid namespace */
	__u32 excluded_pid; /* in the sensor's pid namespace */
	__u32 watching;     /* 1: there are watched paths */
	__u32 adding;       /* 1: what the sensor itself opens now becomes watched */
	__u32 quiet;        /* 1: the forwarding process looks by itself soon; nobody need wake it (an interrupt, dear in a virtual machine) */
	__u32 quiet_process; /* the same for the ring of processes */
	__u32 unused;
	__u64 wall_offset_ns; /* wall clock minus time since boot, for ages of files */
};

struct fb_counts {
	__u64 submitted;
	__u64 dropped;
};

/* Longest prefix that the kernel's trie takes. */
#define LPM_PATH_BYTES 256
struct lpm_key {
	__u32 bits;
	__u8 path[LPM_PATH_BYTES];
};

/* header.flags inside the ring only: the forwarder has to take `.` and `..` out and look whether it is watched at all. */
#define FB_PATH_CHECK 0x80000000u

/* Handlers of system calls: indexes of the program arrays. */
enum exit_handler {
	ON_OPEN = 1, ON_NAMES, ON_ATTRIBUTES, ON_ACCEPT, ON_SEND, ON_RECEIVE, ON_KERNEL_CALL, ON_MOUNT, ON_CREDENTIALS, EXIT_HANDLERS
};
enum enter_handler { ON_CLOSE = 1, ON_CREDENTIALS_BEFORE, ENTER_HANDLERS };

#define SYSCALLS_MAX 512

#endif
