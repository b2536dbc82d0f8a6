/* Processes: exec, exit, fork. */
#ifndef FIREBREAK_PROCESS_H
#define FIREBREAK_PROCESS_H

#include "files.h"

#define SIGNAL_GROUP_EXIT 0x4
#define CORE_DUMPED 0x80
#define TMPFS_MAGIC 0x01021994
#define HUGETLBFS_MAGIC 0x958458f6
#define ARGV_CHUNK 4096

__noinline __u32 put_arguments(__u32 user, __u32 at, __u64 from, __u64 to)
{
	struct scratch *s = scratch_of(user);
	__u64 total = to > from ? to - from : 0;
	__u32 stored = 0;

	if (!s)
		return at;
	s->at = 0;
	/* Chunks end at page borders, so that a page that is not there takes only what comes after it along. */
	for (int chunk = 0; chunk < FB_ARGV_MAX / ARGV_CHUNK + 1; chunk++) {
		__u64 size;

		stored = s->at;
		if (stored >= total || stored >= FB_ARGV_MAX)
			break;
		size = ARGV_CHUNK - ((from + stored) & (ARGV_CHUNK - 1));
		size = min_of(size, total - stored);
		size = min_of(size, (__u64)(FB_ARGV_MAX - stored));
		if (size == 0 || size > ARGV_CHUNK)
			break;
		if (bpf_probe_read_user(&s->record[(at + 8 + stored) & SCRATCH_MASK], size, (void *)(from + stored)))
			break;
		s->at = stored + size;
	}
	stored = s->at;
	put_lengths(s, at, stored, total < FB_TOTAL_UNKNOWN ? total : FB_TOTAL_UNKNOWN);
	return at + 8 + stored;
}

#define CGROUP_DEPTH 32

/* The walk up is the list of the dentries, with kernfs nodes in it. */
__noinline __u32 put_cgroup_path(__u32 user, __u32 at, __u64 node_address)
{
	struct kernfs_node *node = (void *)node_address;
	struct scratch *s = scratch_of(user);
	__u32 depth = 0, start = at, stored;
	int whole = 0;

	if (!s)
		return at;
	for (int step = 0; step < CGROUP_DEPTH; step++) {
		struct kernfs_node *parent;
		struct kernfs_node___old *old = (void *)node;

		if (!node)
			break;
		parent = bpf_core_field_exists(node->__parent) ? BPF_CORE_READ(node, __parent) : BPF_CORE_READ(old, parent);
		if (!parent) {
			whole = 1;
			break;
		}
		s->dentries[depth & (CGROUP_DEPTH - 1)] = (__u64)node;
		depth++;
		node = parent;
	}
	s->at = at + 8;
	s->depth = depth;
	for (__u32 step = 0; step < CGROUP_DEPTH; step++) {
		long length;

		if (step >= s->depth)
			break;
		node = (struct kernfs_node *)s->dentries[(s->depth - 1 - step) & (CGROUP_DEPTH - 1)];
		at = s->at;
		if (step > 0 || whole) {
			s->record[at & SCRATCH_MASK] = '/';
			at++;
		}
		length = bpf_probe_read_kernel_str(&s->record[at & SCRATCH_MASK], 128, BPF_CORE_READ(node, name));
		s->at = length > 1 ? at + (__u32)length - 1 : at;
	}
	at = s->at;
	if (depth == 0 && whole) {
		s->record[at & SCRATCH_MASK] = '/';
		at++;
	}
	stored = at - start - 8;
	put_lengths(s, start, stored, whole ? stored : FB_TOTAL_UNKNOWN);
	return at;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct scratch *s;
	struct fb_header *header;
	struct fb_exec *body;
	struct file *file;
	struct inode *inode;
	struct mm_struct *mm;
	const char *filename, *interp;
	unsigned long magic;
	__u32 at, flags = 0;

	if (!(settings.switches & FB_SWITCH_PROCESS))
		return 0;
	s = scratch_of(SCRATCH_EXEC);
	if (!s) {
		count_lost(FB_CLASS_PROCESS);
		return 0;
	}
	header = (void *)s->record;
	body = (void *)(s->record + sizeof(*header));
	if (!fill_actor(header, task))
		return 0;
	stamp(header, FB_EXEC, FB_CLASS_PROCESS, 0);

	file = BPF_CORE_READ(bprm, file);
	inode = BPF_CORE_READ(file, f_inode);
	filename = BPF_CORE_READ(bprm, filename);
	interp = BPF_CORE_READ(bprm, interp);
	magic = BPF_CORE_READ(inode, i_sb, s_magic);
	body->inode = BPF_CORE_READ(inode, i_ino);
	body->mtime_ns = modified_ns(inode);
	body->ctime_ns = changed_ns(inode);
	body->size = BPF_CORE_READ(inode, i_size);
	body->device = BPF_CORE_READ(inode, i_sb, s_dev);
	body->mode = BPF_CORE_READ(inode, i_mode);
	body->owner_uid = BPF_CORE_READ(inode, i_uid.val);
	body->owner_gid = BPF_CORE_READ(inode, i_gid.val);
	body->links = BPF_CORE_READ(inode, i_nlink);
	body->argc = BPF_CORE_READ(bprm, argc);
	body->old_tid = old_pid;
	body->cap_permitted = BPF_CORE_READ(task, real_cred, cap_permitted.val);
	if (body->links == 0)
		flags |= FB_EXEC_DELETED;
	if (BPF_CORE_READ_BITFIELD_PROBED(bprm, secureexec))
		flags |= FB_EXEC_SECURE;
	if (filename != interp)
		flags |= FB_EXEC_SCRIPT;

	at = sizeof(*header) + sizeof(*body);
	walk_path(SCRATCH_EXEC, path_of_file(file), 0);
	/* A memfd lives on a mount of the kernel's own, without a place in any folder. */
	if (s->depth == 1 && !s->whole && (magic == TMPFS_MAGIC || magic == HUGETLBFS_MAGIC))
		flags |= FB_EXEC_MEMFD;
	body->flags = flags;
	at = put_walked(s, SCRATCH_EXEC, at);
	at = put_kernel_string(s, at, filename, FB_PATH_MAX);
	at = put_kernel_string(s, at, filename != interp ? interp : NULL, FB_PATH_MAX);
	walk_path(SCRATCH_EXEC, (void *)BPF_CORE_READ(task, fs) + bpf_core_field_offset(struct fs_struct, pwd), 0);
	at = put_walked(s, SCRATCH_EXEC, at);
	mm = BPF_CORE_READ(task, mm);
	at = put_arguments(SCRATCH_EXEC, at, BPF_CORE_READ(mm, arg_start), BPF_CORE_READ(mm, arg_end));
	at = put_cgroup_path(SCRATCH_EXEC, at, (__u64)BPF_CORE_READ(task, cgroups, dfl_cgrp, kn));
	submit(s->record, at & SCRATCH_MASK, FB_CLASS_PROCESS);
	return 0;
}

/* Processes whose end was told: with two threads that end at once both may see that none is left (kernels before 6.16). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u8);
} ended SEC(".maps");

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct {
		struct fb_header header;
		struct fb_exit body;
	} record = {};
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	struct task_struct *leader;
	__u64 start;
	__u8 yes = 1;
	int status;

	if (BPF_CORE_READ(signal, live.counter) != 0)
		return 0;
	leader = BPF_CORE_READ(task, group_leader);
	start = (__u64)leader ^ BPF_CORE_READ(leader, start_boottime);
	if (bpf_map_update_elem(&ended, &start, &yes, BPF_NOEXIST))
		return 0;
	tell_unclosed((__u64)current_task());
	if (!(settings.switches & FB_SWITCH_PROCESS) || !fill_actor(&record.header, task))
		return 0;
	stamp(&record.header, FB_EXIT, FB_CLASS_PROCESS, 0);
	/* What the parent is told by wait(2). */
	status = BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT ? BPF_CORE_READ(signal, group_exit_code)
								  : BPF_CORE_READ(leader, exit_code);
	record.body.code = (status >> 8) & 0xff;
	record.body.signal = status & 0x7f;
	record.body.core_dumped = (status & CORE_DUMPED) != 0;
	record.body.runtime_ns = record.header.boottime_ns - record.header.start_boottime_ns;
	submit(&record, sizeof(record), FB_CLASS_PROCESS);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct {
		struct fb_header header;
		struct fb_fork body;
	} record = {};
	struct nsproxy *old;
	struct task_struct *caller;

	if (BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid))
		return 0;
	inherit_unclosed(parent, child);
	if (!(settings.switches & FB_SWITCH_PROCESS) || !fill_actor(&record.header, child))
		return 0;
	stamp(&record.header, FB_FORK, FB_CLASS_PROCESS, 0);
	caller = BPF_CORE_READ(parent, group_leader);
	record.body.caller_pid = pid_of(caller);
	record.body.caller_start_boottime_ns = record.body.caller_pid ? BPF_CORE_READ(caller, start_boottime) : 0;
	old = BPF_CORE_READ(parent, nsproxy);
	record.body.new_namespaces = BPF_CORE_READ(child, nsproxy) != old ||
				     BPF_CORE_READ(child, thread_pid, level) != BPF_CORE_READ(parent, thread_pid, level);
	submit(&record, sizeof(record), FB_CLASS_PROCESS);
	return 0;
}

#endif
