/* Maps, counts, and how a record leaves the kernel. Included by the programs only. */
#ifndef FIREBREAK_TRACING_H
#define FIREBREAK_TRACING_H

#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include "records.h"
#include "shared_state.h"
#include "kernel_types.h"

#define min_of(a, b) ((a) < (b) ? (a) : (b))

/* Set before loading. */
const volatile __u32 own_pid_ns;
const volatile __u32 own_net_ns;

/* Set while running: struct fb_settings. */
struct fb_settings settings;
/* Level of the sensor's pid namespace, found at the first task that is in it; -1 before. */
int own_level = -1;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} ring_process SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring_bulk SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FB_CLASSES);
	__type(key, __u32);
	__type(value, struct fb_counts);
} counts SEC(".maps");

/* Functions that are not static are verified once and by themselves, and take only numbers: what is looked at from many places is one
 * of them, so that the verifier's work stays small (kernels since 5.6). */

/* Room to build a long record in. A per-CPU map cannot hold so much (32 KiB), so it is indexed by CPU and user. */
#define SCRATCH_MASK 0xffff
struct names {
	__u16 kind;
	int first_at;
	int other_at; /* folder of the other, or NO_OTHER, or AS_WRITTEN */
	__u32 mode;
	__u32 owner_uid;
	__u32 owner_gid;
	__u32 everywhere; /* told also where nothing is watched */
	const char *first;
	const char *other;
};
#define NO_OTHER -1000
#define AS_WRITTEN -1001

struct datagram {
	const void *name;
	const void *data;
	__u64 length; /* room in the first buffer */
	long bytes; /* sent or received */
	__u32 name_length;
};

struct scratch {
	__u64 dentries[FB_PATH_DEPTH];
	__u32 depth;
	__u32 path_bytes;
	__u32 whole;   /* the walk reached the top */
	__u32 full;    /* more names than fit: the first ones are left out */
	__u32 at;
	__u32 watched; /* it met a watched folder, or was too long to know */
	struct lpm_key prefix;
	struct names names;
	struct datagram datagram;
	__u8 record[SCRATCH_MASK + 1 + 8192];
};
enum scratch_user { SCRATCH_EXEC = 0, SCRATCH_ENTER = 1, SCRATCH_EXIT = 2, SCRATCH_USERS = 3 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SCRATCH_USERS);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

static __always_inline struct scratch *scratch_of(__u32 user)
{
	__u32 index = bpf_get_smp_processor_id() * SCRATCH_USERS + user;

	return bpf_map_lookup_elem(&scratches, &index);
}

static __always_inline struct fb_counts *counts_of(__u32 class)
{
	return bpf_map_lookup_elem(&counts, &class);
}

static __always_inline void count_lost(__u32 class)
{
	struct fb_counts *count = counts_of(class);

	if (count)
		__sync_fetch_and_add(&count->dropped, 1);
}

/* Times, CPU and number; the rest of the header is filled by the actor. */
static __always_inline void stamp(struct fb_header *header, __u16 kind, __u32 class, __u32 flags)
{
	struct fb_counts *count = counts_of(class);

	header->version = FB_PROTOCOL_VERSION;
	header->kind = kind;
	header->flags = flags;
	header->seq = count ? count->submitted + count->dropped + 1 : 0;
	header->monotonic_ns = bpf_ktime_get_ns();
	header->boottime_ns = bpf_ktime_get_boot_ns();
	header->cpu = bpf_get_smp_processor_id();
}

/* `ring_process` never waits behind files and sockets: a flood of those cannot push out what processes do. */
static __always_inline void submit(void *record, __u64 length, __u32 class)
{
	struct fb_counts *count = counts_of(class);
	__u32 quiet = class == FB_CLASS_PROCESS ? settings.quiet_process : settings.quiet;
	__u64 flags = quiet ? BPF_RB_NO_WAKEUP : 0;
	long failed = class == FB_CLASS_PROCESS ? bpf_ringbuf_output(&ring_process, record, length, flags)
						: bpf_ringbuf_output(&ring_bulk, record, length, flags);

	if (!count)
		return;
	if (failed)
		__sync_fetch_and_add(&count->dropped, 1);
	else
		__sync_fetch_and_add(&count->submitted, 1);
}

static __always_inline __u32 put_lengths(struct scratch *s, __u32 at, __u32 stored, __u32 total)
{
	*(__u32 *)&s->record[at & SCRATCH_MASK] = stored;
	*(__u32 *)&s->record[(at + 4) & SCRATCH_MASK] = total;
	return at + 8 + stored;
}

/* A string of the kernel, at most 4096 bytes. */
static __always_inline __u32 put_kernel_string(struct scratch *s, __u32 at, const void *from, __u32 most)
{
	long length = from ? bpf_probe_read_kernel_str(&s->record[(at + 8) & SCRATCH_MASK], most, from) : 0;
	__u32 stored = length > 0 ? (length - 1) & 0xfff : 0;

	return put_lengths(s, at, stored, stored == most - 1 ? FB_TOTAL_UNKNOWN : stored);
}

static __always_inline __u32 put_user_string(struct scratch *s, __u32 at, const void *from, __u32 most)
{
	long length = from ? bpf_probe_read_user_str(&s->record[(at + 8) & SCRATCH_MASK], most, from) : 0;
	__u32 stored = length > 0 ? (length - 1) & 0xfff : 0;

	/* What cannot be read is told as a string of unknown length. */
	return put_lengths(s, at, stored, length < 0 || stored == most - 1 ? FB_TOTAL_UNKNOWN : stored);
}

static __always_inline __u32 put_empty(struct scratch *s, __u32 at)
{
	return put_lengths(s, at, 0, 0);
}

#endif
