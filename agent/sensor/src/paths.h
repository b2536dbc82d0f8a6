/* Paths, from the names that the kernel itself holds: no string of a program is believed where there is a dentry. */
#ifndef FIREBREAK_PATHS_H
#define FIREBREAK_PATHS_H

#include "actor.h"

/* Folders met while walking up; a mount point takes a step too. */
#define STEPS_MAX (FB_PATH_DEPTH + 32)
/* Names that a path may bring together; one more of 255 bytes still fits into FB_PATH_MAX. */
#define PATH_BYTES_MAX (FB_PATH_MAX - 256)

/* Watched folders and files by the address of their inode: the sensor holds them open, so that no other inode can get the address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FB_PATHS_MAX);
	__type(key, __u64);
	__type(value, __u32);
} watched_inodes SEC(".maps");

/* The same by their spelling, for calls that only have a spelling: "/etc/" and "/etc\0". */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, FB_PATHS_MAX * 2);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lpm_key);
	__type(value, __u32);
} watched_prefixes SEC(".maps");

/* Collects the names from `dentry_address` up to the top. Counters live in the map: the verifier need not follow their values. */
__noinline int walk_up(__u32 user, __u64 dentry_address, __u64 vfsmount_address, __u32 watch)
{
	struct dentry *dentry = (void *)dentry_address, *top;
	struct vfsmount *vfsmount = (void *)vfsmount_address;
	struct scratch *s = scratch_of(user);
	struct mount *mount;

	if (!s)
		return 0;
	s->depth = 0;
	s->path_bytes = 0;
	s->whole = 0;
	s->watched = 0;
	s->full = 0;
	if (!dentry || !vfsmount)
		return 0;
	mount = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);
	top = BPF_CORE_READ(vfsmount, mnt_root);
	for (int step = 0; step < STEPS_MAX; step++) {
		struct dentry *parent;
		__u32 length, depth;

		if (watch) {
			__u64 inode = (__u64)BPF_CORE_READ(dentry, d_inode);

			if (inode && bpf_map_lookup_elem(&watched_inodes, &inode))
				s->watched = 1;
		}
		if (dentry == top) {
			struct mount *above = BPF_CORE_READ(mount, mnt_parent);

			if (above == mount || !above) {
				s->whole = !s->full;
				return 0;
			}
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mount = above;
			top = BPF_CORE_READ(mount, mnt.mnt_root);
			continue;
		}
		parent = BPF_CORE_READ(dentry, d_parent);
		length = BPF_CORE_READ(dentry, d_name.len);
		depth = s->depth;
		if (depth >= FB_PATH_DEPTH || s->path_bytes + length + 1 > PATH_BYTES_MAX)
			s->full = 1;
		if (!s->full) {
			s->dentries[depth & (FB_PATH_DEPTH - 1)] = (__u64)dentry;
			s->depth = depth + 1;
			s->path_bytes += length + 1;
		}
		if (parent == dentry)
			return 0; /* a file without a place, as a memfd: its name alone */
		dentry = parent;
	}
	s->watched = 1; /* too deep to know: rather told than missed */
	return 0;
}

/* Writes what walk_up met, from the top down, without lengths; returns where it ends. */
__noinline __u32 write_names(__u32 user, __u32 at)
{
	struct scratch *s = scratch_of(user);
	__u32 depth;

	if (!s)
		return at;
	depth = s->depth;
	s->at = at;
	for (__u32 step = 0; step < FB_PATH_DEPTH; step++) {
		struct dentry *dentry;
		long length;

		if (step >= depth)
			break;
		dentry = (struct dentry *)s->dentries[(depth - 1 - step) & (FB_PATH_DEPTH - 1)];
		at = s->at;
		/* Without a leading slash it is a path that lost its first folders. */
		if (step > 0 || s->whole) {
			s->record[at & SCRATCH_MASK] = '/';
			at++;
		}
		length = bpf_probe_read_kernel_str(&s->record[at & SCRATCH_MASK], 256, BPF_CORE_READ(dentry, d_name.name));
		s->at = length > 1 ? at + (__u32)length - 1 : at;
	}
	if (depth == 0 && s->whole) {
		s->record[s->at & SCRATCH_MASK] = '/';
		s->at++;
	}
	return s->at;
}

static __always_inline __u32 put_walked(struct scratch *s, __u32 user, __u32 at)
{
	__u32 end = write_names(user, at + 8);
	__u32 stored = end - at - 8;

	put_lengths(s, at, stored, s->whole || s->depth == 1 ? stored : FB_TOTAL_UNKNOWN);
	return end;
}

static __always_inline void walk_path(__u32 user, const struct path *path, __u32 watch)
{
	struct path here = {};

	bpf_probe_read_kernel(&here.dentry, sizeof(here.dentry), (void *)path + bpf_core_field_offset(struct path, dentry));
	bpf_probe_read_kernel(&here.mnt, sizeof(here.mnt), (void *)path + bpf_core_field_offset(struct path, mnt));
	walk_up(user, (__u64)here.dentry, (__u64)here.mnt, watch);
}

static __always_inline const struct path *path_of_file(struct file *file)
{
	return (void *)file + bpf_core_field_offset(struct file, f_path);
}

static __always_inline __u32 put_file_path(struct scratch *s, __u32 user, __u32 at, struct file *file)
{
	walk_path(user, path_of_file(file), 0);
	return put_walked(s, user, at);
}

static __always_inline struct file *file_at(struct task_struct *task, long fd)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **slots;
	struct file *file = NULL;

	if (fd < 0 || fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	slots = BPF_CORE_READ(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), &slots[fd]);
	return file;
}

static __always_inline __u64 modified_ns(struct inode *inode)
{
	struct inode___6_7 *newer = (void *)inode;
	struct inode___old *older = (void *)inode;

	if (bpf_core_field_exists(inode->i_mtime_sec))
		return BPF_CORE_READ(inode, i_mtime_sec) * 1000000000ull + BPF_CORE_READ(inode, i_mtime_nsec);
	if (bpf_core_field_exists(newer->__i_mtime))
		return BPF_CORE_READ(newer, __i_mtime.tv_sec) * 1000000000ull + BPF_CORE_READ(newer, __i_mtime.tv_nsec);
	return BPF_CORE_READ(older, i_mtime.tv_sec) * 1000000000ull + BPF_CORE_READ(older, i_mtime.tv_nsec);
}

static __always_inline __u64 changed_ns(struct inode *inode)
{
	struct inode___6_7 *newer = (void *)inode;
	struct inode___old *older = (void *)inode;

	if (bpf_core_field_exists(inode->i_ctime_sec))
		/* Its highest bit says that somebody looked (6.13). */
		return BPF_CORE_READ(inode, i_ctime_sec) * 1000000000ull + (BPF_CORE_READ(inode, i_ctime_nsec) & 0x7fffffff);
	if (bpf_core_field_exists(newer->__i_ctime))
		return BPF_CORE_READ(newer, __i_ctime.tv_sec) * 1000000000ull + BPF_CORE_READ(newer, __i_ctime.tv_nsec);
	return BPF_CORE_READ(older, i_ctime.tv_sec) * 1000000000ull + BPF_CORE_READ(older, i_ctime.tv_nsec);
}

#endif
