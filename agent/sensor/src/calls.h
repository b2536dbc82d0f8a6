/* Calls that change what a process may do, or reach into another one or into the kernel. */
#ifndef FIREBREAK_CALLS_H
#define FIREBREAK_CALLS_H

#include "syscalls.h"

#define PTRACE_TRACEME 0
#define PTRACE_ATTACH 16
#define PTRACE_SEIZE 0x4206
#define BPF_PROG_LOAD_COMMAND 5

struct credentials {
	__u64 cap_effective;
	__u32 uid, gid, euid, egid, suid, sgid;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct credentials);
} credentials_before SEC(".maps");

static __always_inline void read_credentials(struct credentials *now, struct task_struct *task)
{
	const struct cred *cred = BPF_CORE_READ(task, real_cred);

	now->cap_effective = BPF_CORE_READ(cred, cap_effective.val);
	now->uid = BPF_CORE_READ(cred, uid.val);
	now->gid = BPF_CORE_READ(cred, gid.val);
	now->euid = BPF_CORE_READ(cred, euid.val);
	now->egid = BPF_CORE_READ(cred, egid.val);
	now->suid = BPF_CORE_READ(cred, suid.val);
	now->sgid = BPF_CORE_READ(cred, sgid.val);
}

static __always_inline struct fb_kernel_call *call_of(struct scratch *s)
{
	return (void *)(s->record + sizeof(struct fb_header));
}
#define CALL_STRINGS (sizeof(struct fb_header) + sizeof(struct fb_kernel_call))

/* An empty record of the caller; 0: not to be told. */
static __always_inline int begin_call(struct scratch *s, __u16 kind, long result)
{
	struct fb_header *header = (void *)s->record;
	struct fb_kernel_call *call = call_of(s);

	if (!fill_actor(header, current_task()))
		return 0;
	__builtin_memset(call, 0, sizeof(*call));
	call->result = result;
	call->old_uid = FB_UID_NONE;
	call->old_gid = FB_UID_NONE;
	call->old_euid = FB_UID_NONE;
	call->old_egid = FB_UID_NONE;
	stamp(header, kind, FB_CLASS_PROCESS, 0);
	return 1;
}

/* The number is the caller's: it means the same only where the caller is in the sensor's own namespace. */
static __always_inline void name_target(struct scratch *s, __u32 pid)
{
	struct fb_header *header = (void *)s->record;

	call_of(s)->target_pid = header->pid_ns == own_pid_ns ? pid : 0;
}

static __always_inline int end_call(struct scratch *s, __u32 at)
{
	submit(s->record, at & SCRATCH_MASK, FB_CLASS_PROCESS);
	return 0;
}

/* A call that has no name, path or detail. */
static __always_inline int end_bare_call(struct scratch *s)
{
	__u32 at = put_empty(s, CALL_STRINGS);

	at = put_empty(s, at);
	at = put_empty(s, at);
	return end_call(s, at);
}

/* A call that has a name and nothing else. */
static __always_inline int end_named_call(struct scratch *s, unsigned long name)
{
	__u32 at = put_user_string(s, CALL_STRINGS, (void *)name, FB_TEXT_MAX);

	at = put_empty(s, at);
	at = put_empty(s, at);
	return end_call(s, at);
}

/* NULL: not to be looked at, or counted as lost. */
static __always_inline struct scratch *scratch_of_call(void)
{
	struct scratch *s;

	if (is_foreign_call())
		return NULL;
	s = scratch_of(SCRATCH_EXIT);
	if (!s)
		count_lost(FB_CLASS_PROCESS);
	return s;
}

static __always_inline __u32 put_descriptor_path(struct scratch *s, __u32 at, long fd)
{
	struct file *file = file_at(current_task(), fd);

	return file ? put_file_path(s, SCRATCH_EXIT, at, file) : put_empty(s, at);
}

SEC("tp_btf/sys_enter")
int BPF_PROG(handle_credentials_before, struct pt_regs *regs, long number)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct credentials now = {};

	if (is_foreign_call())
		return 0;
	read_credentials(&now, current_task());
	bpf_map_update_elem(&credentials_before, &id, &now, BPF_ANY);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_credentials, struct pt_regs *regs, long result)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct credentials *before, now = {};
	struct fb_kernel_call *call;
	struct scratch *s;

	if (is_foreign_call())
		return 0;
	before = bpf_map_lookup_elem(&credentials_before, &id);
	s = scratch_of(SCRATCH_EXIT);
	if (!before || !s)
		return 0;
	read_credentials(&now, current_task());
	if (now.cap_effective == before->cap_effective && now.uid == before->uid && now.gid == before->gid && now.euid == before->euid &&
	    now.egid == before->egid && now.suid == before->suid && now.sgid == before->sgid)
		goto out;
	if (!begin_call(s, FB_CREDENTIALS, result))
		goto out;
	call = call_of(s);
	call->args[0] = NUMBER_OF(regs);
	call->old_uid = before->uid;
	call->old_gid = before->gid;
	call->old_euid = before->euid;
	call->old_egid = before->egid;
	call->old_cap_effective = before->cap_effective;
	end_bare_call(s);
out:
	bpf_map_delete_elem(&credentials_before, &id);
	return 0;
}

struct written {
	__u64 from;
	__u64 to;
};
/* Who wrote into whom: told once per pair. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct written);
	__type(value, __u8);
} process_writes SEC(".maps");

struct attr_of_load {
	__u32 type, instructions;
	__u64 code, license;
	__u32 log_level, log_size;
	__u64 log;
	__u32 version, flags;
	char name[16];
};

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_kernel_call, struct pt_regs *regs, long result)
{
	long number = NUMBER_OF(regs);
	struct fb_kernel_call *call;
	struct scratch *s = scratch_of_call();
	__u32 at = CALL_STRINGS;

	if (!s)
		return 0;
	call = call_of(s);
	switch (number) {
	case FB_NR_memfd_create:
		if (result < 0 || !begin_call(s, FB_MEMFD_CREATE, result))
			return 0;
		call->args[0] = ARG1(regs);
		return end_named_call(s, ARG0(regs));
	case FB_NR_ptrace:
		if (ARG0(regs) != PTRACE_TRACEME && ARG0(regs) != PTRACE_ATTACH && ARG0(regs) != PTRACE_SEIZE)
			return 0;
		if (!begin_call(s, FB_PTRACE, result))
			return 0;
		call->args[0] = ARG0(regs);
		call->args[1] = (__u32)ARG1(regs);
		if (ARG0(regs) != PTRACE_TRACEME)
			name_target(s, (__u32)ARG1(regs));
		return end_bare_call(s);
	case FB_NR_process_vm_writev: {
		struct written pair = { .from = bpf_get_current_pid_tgid() >> 32, .to = (__u32)ARG0(regs) };
		__u8 yes = 1;

		if (result <= 0 || bpf_map_update_elem(&process_writes, &pair, &yes, BPF_NOEXIST))
			return 0;
		if (!begin_call(s, FB_PROCESS_WRITE, result))
			return 0;
		call->args[0] = result;
		call->args[1] = (__u32)ARG0(regs);
		name_target(s, (__u32)ARG0(regs));
		return end_bare_call(s);
	}
	case FB_NR_init_module:
	case FB_NR_finit_module:
		if (!begin_call(s, FB_MODULE_LOAD, result))
			return 0;
		at = put_empty(s, at);
		at = number == FB_NR_finit_module ? put_descriptor_path(s, at, (int)ARG0(regs)) : put_empty(s, at);
		at = put_user_string(s, at, number == FB_NR_finit_module ? (void *)ARG1(regs) : (void *)ARG2(regs), FB_TEXT_MAX);
		return end_call(s, at);
	case FB_NR_delete_module:
		if (!begin_call(s, FB_MODULE_UNLOAD, result))
			return 0;
		call->args[0] = ARG1(regs);
		return end_named_call(s, ARG0(regs));
	case FB_NR_bpf: {
		struct attr_of_load attr = {};
		__u32 stored;

		if (ARG0(regs) != BPF_PROG_LOAD_COMMAND || is_excluded())
			return 0;
		if (!begin_call(s, FB_BPF_LOAD, result))
			return 0;
		bpf_probe_read_user(&attr, sizeof(attr), (void *)ARG1(regs));
		call->args[0] = attr.type;
		call->args[1] = attr.instructions;
		attr.name[15] = 0;
		stored = bpf_probe_read_kernel_str(&s->record[(at + 8) & SCRATCH_MASK], sizeof(attr.name), attr.name);
		stored = stored > 0 && stored <= sizeof(attr.name) ? stored - 1 : 0;
		at = put_lengths(s, at, stored, stored);
		at = put_empty(s, at);
		at = put_empty(s, at);
		return end_call(s, at);
	}
	case FB_NR_setns:
		if (result < 0 || !begin_call(s, FB_SETNS, result))
			return 0;
		call->args[0] = ARG1(regs);
		at = put_empty(s, at);
		at = put_descriptor_path(s, at, (int)ARG0(regs));
		at = put_empty(s, at);
		return end_call(s, at);
	case FB_NR_unshare:
		/* Only what makes a namespace: CLONE_FILES and the like are a process's own matter. */
		if (result < 0 || !(ARG0(regs) & 0x7e020080) || !begin_call(s, FB_UNSHARE, result))
			return 0;
		call->args[0] = ARG0(regs);
		return end_bare_call(s);
	}
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_mount, struct pt_regs *regs, long result)
{
	long number = NUMBER_OF(regs);
	struct fb_kernel_call *call;
	struct scratch *s = result == 0 ? scratch_of_call() : NULL;
	__u32 at = CALL_STRINGS;

	if (!s)
		return 0;
	call = call_of(s);
	switch (number) {
	case FB_NR_mount:
		if (!begin_call(s, FB_MOUNT, result))
			return 0;
		call->args[0] = ARG3(regs);
		at = put_user_string(s, at, (void *)ARG2(regs), FB_TEXT_MAX);
		at = put_user_string(s, at, (void *)ARG1(regs), FB_PATH_MAX);
		at = put_user_string(s, at, (void *)ARG0(regs), FB_PATH_MAX);
		break;
	case FB_NR_move_mount:
		if (!begin_call(s, FB_MOUNT, result))
			return 0;
		call->args[0] = ARG4(regs);
		at = put_empty(s, at);
		at = put_user_string(s, at, (void *)ARG3(regs), FB_PATH_MAX);
		at = put_user_string(s, at, (void *)ARG1(regs), FB_PATH_MAX);
		break;
	case FB_NR_umount2:
		if (!begin_call(s, FB_UNMOUNT, result))
			return 0;
		call->args[0] = ARG1(regs);
		at = put_empty(s, at);
		at = put_user_string(s, at, (void *)ARG0(regs), FB_PATH_MAX);
		at = put_empty(s, at);
		break;
	case FB_NR_pivot_root:
	case FB_NR_chroot:
		if (!begin_call(s, FB_PIVOT_ROOT, result))
			return 0;
		call->args[0] = number == FB_NR_chroot;
		at = put_empty(s, at);
		at = put_user_string(s, at, (void *)ARG0(regs), FB_PATH_MAX);
		at = number == FB_NR_chroot ? put_empty(s, at) : put_user_string(s, at, (void *)ARG1(regs), FB_PATH_MAX);
		break;
	default:
		return 0;
	}
	return end_call(s, at);
}

#endif
