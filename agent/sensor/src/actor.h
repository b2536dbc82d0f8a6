/* Who did it. Every pid is the one that the sensor's own pid namespace has for a task; tasks outside of it are not told. */
#ifndef FIREBREAK_ACTOR_H
#define FIREBREAK_ACTOR_H

#include "tracing.h"

#define PIDTYPE_SID 3
#define LEVELS_MAX 32 /* MAX_PID_NS_LEVEL */

static __always_inline __u32 namespace_at(struct pid *pid, __u32 level)
{
	void *number = (void *)pid + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid);
	struct pid_namespace *ns = NULL;

	bpf_probe_read_kernel(&ns, sizeof(ns), number + bpf_core_field_offset(struct upid, ns));
	return ns ? BPF_CORE_READ(ns, ns.inum) : 0;
}

static __always_inline __u32 number_at(struct pid *pid, __u32 level)
{
	int nr = 0;

	bpf_probe_read_kernel(&nr, sizeof(nr), (void *)pid + bpf_core_field_offset(struct pid, numbers) +
						       level * bpf_core_type_size(struct upid) +
						       bpf_core_field_offset(struct upid, nr));
	return nr;
}

/* The pid in the sensor's namespace, 0 when it has none there. */
__noinline __u32 pid_of_address(__u64 address)
{
	struct pid *pid = (void *)address;
	int level = own_level;
	__u32 deepest;

	if (!pid)
		return 0;
	deepest = BPF_CORE_READ(pid, level);
	if (level < 0) {
		for (__u32 at = 0; at < LEVELS_MAX; at++) {
			if (at > deepest)
				break;
			if (namespace_at(pid, at) == own_pid_ns) {
				level = at;
				own_level = at;
				break;
			}
		}
		if (level < 0)
			return 0;
	}
	if (level > deepest || level >= LEVELS_MAX)
		return 0;
	/* Level 0 is the initial namespace of everybody. */
	if (level > 0 && namespace_at(pid, level) != own_pid_ns)
		return 0;
	return number_at(pid, level);
}

static __always_inline __u32 pid_here(struct pid *pid)
{
	return pid_of_address((__u64)pid);
}

static __always_inline __u32 pid_of(struct task_struct *task)
{
	return pid_here(BPF_CORE_READ(task, group_leader, thread_pid));
}

static __always_inline __u64 cgroup_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
}

/* Everything about the task that a header tells. 0: it is not to be told. */
static __noinline int fill_actor(struct fb_header *header, struct task_struct *task)
{
	struct task_struct *leader, *parent;
	struct signal_struct *signal;
	struct tty_struct *tty;
	struct nsproxy *nsproxy;
	const struct cred *cred;
	struct pid *pid;
	__u32 level;

	if (!header)
		return 0;
	leader = BPF_CORE_READ(task, group_leader);
	pid = BPF_CORE_READ(leader, thread_pid);
	header->pid = pid_here(pid);
	if (!header->pid)
		return 0;
	level = BPF_CORE_READ(pid, level);
	header->inner_pid = level < LEVELS_MAX ? number_at(pid, level) : 0;
	header->pid_ns = level < LEVELS_MAX ? namespace_at(pid, level) : 0;
	header->tid = pid_here(BPF_CORE_READ(task, thread_pid));
	header->start_boottime_ns = BPF_CORE_READ(leader, start_boottime);
	parent = BPF_CORE_READ(leader, real_parent, group_leader);
	header->ppid = pid_of(parent);
	header->parent_start_boottime_ns = header->ppid ? BPF_CORE_READ(parent, start_boottime) : 0;

	cred = BPF_CORE_READ(task, real_cred);
	header->uid = BPF_CORE_READ(cred, uid.val);
	header->gid = BPF_CORE_READ(cred, gid.val);
	header->euid = BPF_CORE_READ(cred, euid.val);
	header->egid = BPF_CORE_READ(cred, egid.val);
	header->cap_effective = BPF_CORE_READ(cred, cap_effective.val);
	header->user_ns = BPF_CORE_READ(cred, user_ns, ns.inum);

	header->login_uid = FB_UID_NONE;
	header->audit_session = FB_UID_NONE;
	if (bpf_core_field_exists(task->loginuid)) {
		header->login_uid = BPF_CORE_READ(task, loginuid.val);
		header->audit_session = BPF_CORE_READ(task, sessionid);
	}

	signal = BPF_CORE_READ(task, signal);
	header->session = pid_here(BPF_CORE_READ(signal, pids[PIDTYPE_SID]));
	tty = BPF_CORE_READ(signal, tty);
	header->tty = 0;
	if (tty)
		header->tty = BPF_CORE_READ(tty, driver, major) << 20 |
			      (BPF_CORE_READ(tty, driver, minor_start) + BPF_CORE_READ(tty, index));
	header->cgroup = cgroup_of(task);

	nsproxy = BPF_CORE_READ(task, nsproxy);
	header->mnt_ns = BPF_CORE_READ(nsproxy, mnt_ns, ns.inum);
	header->net_ns = BPF_CORE_READ(nsproxy, net_ns, ns.inum);
	header->uts_ns = BPF_CORE_READ(nsproxy, uts_ns, ns.inum);
	header->ipc_ns = BPF_CORE_READ(nsproxy, ipc_ns, ns.inum);
	header->cgroup_ns = BPF_CORE_READ(nsproxy, cgroup_ns, ns.inum);
	BPF_CORE_READ_INTO(&header->comm, task, comm);
	return 1;
}

static __always_inline struct task_struct *current_task(void)
{
	return (struct task_struct *)bpf_get_current_task();
}

#endif
