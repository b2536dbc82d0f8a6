/* Files under watched paths. Where the call leaves an open file, its dentry tells the place; where it leaves only a spelling, the
 * folder it starts from is resolved and the rest is told as spelled (FB_PATH_SPELLED). */
#ifndef FIREBREAK_FILES_H
#define FIREBREAK_FILES_H

#include <linux/fcntl.h>
#include "syscalls.h"

#define MODE_WRITE 0x2u          /* FMODE_WRITE */
#define MODE_CREATED 0x100000u   /* FMODE_CREATED */
#define AT_EMPTY_PATH 0x1000
#define S_SETUID 04000
#define S_SETGID 02000
#define TICK_NS 20000000ull      /* time stamps of files may be as coarse as two ticks of 10 ms */
#define UNCLOSED_MAX 64          /* descriptors of an ending process that are looked at */

/* Watched files open for writing, by address of the open file: duplicates and inherited descriptors lead to the same. */
struct unclosed {
	__u64 inode;
	__u64 size;
	__u64 mtime_ns;
	__u32 created;
	__u32 reserved;
	__u32 unsure; /* opened so soon after its last change that the time stamp may not show another one */
	__u32 open_flags;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct unclosed);
} unclosed_files SEC(".maps");

/* Processes that may end with such a file still open. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, __u8);
} unclosed_pids SEC(".maps");

static __always_inline void fill_file(struct fb_file *body, struct inode *inode)
{
	body->inode = BPF_CORE_READ(inode, i_ino);
	body->size = BPF_CORE_READ(inode, i_size);
	body->mtime_ns = modified_ns(inode);
	body->device = BPF_CORE_READ(inode, i_sb, s_dev);
	body->mode = BPF_CORE_READ(inode, i_mode);
	body->owner_uid = BPF_CORE_READ(inode, i_uid.val);
	body->owner_gid = BPF_CORE_READ(inode, i_gid.val);
	body->links = BPF_CORE_READ(inode, i_nlink);
	body->open_flags = 0;
	body->old_mode = FB_UID_NONE;
	body->reserved = 0;
}

static __always_inline void fill_unknown(struct fb_file *body)
{
	__builtin_memset(body, 0, sizeof(*body));
	body->owner_uid = FB_UID_NONE;
	body->owner_gid = FB_UID_NONE;
	body->old_mode = FB_UID_NONE;
}

/* An open file, already walked into `s` or not watched. */
__noinline int tell_file(__u32 user, __u32 kind, __u64 file_address, __u32 open_flags, __u64 task_address)
{
	struct task_struct *task = (void *)task_address;
	struct file *file = (void *)file_address;
	struct scratch *s = scratch_of(user);
	struct fb_header *header;
	struct fb_file *body;
	struct inode *inode;
	__u32 at, flags = 0;

	if (!s)
		return 0;
	header = (void *)s->record;
	body = (void *)(s->record + sizeof(*header));
	if (!fill_actor(header, task))
		return 0;
	inode = BPF_CORE_READ(file, f_inode);
	fill_file(body, inode);
	body->open_flags = open_flags;
	if ((body->mode & 0170000) == 0100000 && body->mode & (S_SETUID | S_SETGID))
		flags |= FB_SETUID_BITS;
	stamp(header, kind, FB_CLASS_FILE, flags);
	at = put_walked(s, user, sizeof(*header) + sizeof(*body));
	at = put_empty(s, at);
	submit(s->record, at & SCRATCH_MASK, FB_CLASS_FILE);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_open, struct pt_regs *regs, long result)
{
	struct task_struct *task = current_task();
	struct unclosed now = {};
	struct scratch *s;
	struct inode *inode;
	struct file *file;
	__u64 key;
	__u32 mode, pid;
	__u8 yes = 1;

	if (result < 0 || is_foreign_call())
		return 0;
	file = file_at(task, result);
	if (settings.adding && pid_of(task) == settings.own_pid) {
		__u32 one = 1;

		key = (__u64)BPF_CORE_READ(file, f_inode);
		bpf_map_update_elem(&watched_inodes, &key, &one, BPF_ANY);
		return 0;
	}
	if (!settings.watching)
		return 0;
	mode = BPF_CORE_READ(file, f_mode);
	if (!(mode & (MODE_WRITE | MODE_CREATED)))
		return 0;
	inode = BPF_CORE_READ(file, f_inode);
	if ((BPF_CORE_READ(inode, i_mode) & 0170000) != 0100000)
		return 0;
	s = scratch_of(SCRATCH_EXIT);
	if (!s) {
		count_lost(FB_CLASS_FILE);
		return 0;
	}
	walk_path(SCRATCH_EXIT, path_of_file(file), 1);
	if (!s->watched || is_excluded())
		return 0;
	now.inode = (__u64)inode;
	now.size = BPF_CORE_READ(inode, i_size);
	now.mtime_ns = modified_ns(inode);
	now.open_flags = BPF_CORE_READ(file, f_flags);
	now.created = (mode & MODE_CREATED) != 0;
	if (mode & MODE_WRITE) {
		/* Created, cut to nothing or changed a moment ago: another change may leave the same time stamp. */
		now.unsure = now.open_flags & O_TRUNC || mode & MODE_CREATED ||
			     bpf_ktime_get_boot_ns() + settings.wall_offset_ns - now.mtime_ns < TICK_NS;
		key = (__u64)file;
		bpf_map_update_elem(&unclosed_files, &key, &now, BPF_ANY);
		pid = bpf_get_current_pid_tgid() >> 32;
		bpf_map_update_elem(&unclosed_pids, &pid, &yes, BPF_ANY);
	}
	if (mode & MODE_CREATED)
		tell_file(SCRATCH_EXIT, FB_FILE_CREATE, (__u64)file, now.open_flags, (__u64)task);
	return 0;
}

/* Is the descriptor that is being closed the only one? */
static __always_inline int is_last(struct file *file)
{
	struct file___ref *newer = (void *)file;
	struct file___count *older = (void *)file;

	if (bpf_core_field_exists(newer->f_ref))
		return BPF_CORE_READ(newer, f_ref.refcnt.counter) <= 0;
	return BPF_CORE_READ(older, f_count.counter) <= 1;
}

/* Tells a write when the file changed since it was opened or told last. */
__noinline int tell_if_changed(__u32 user, __u64 file_address, __u64 task_address)
{
	struct file *file = (void *)file_address;
	struct unclosed *known;
	struct inode *inode;
	__u64 key = file_address, mtime, size;

	known = bpf_map_lookup_elem(&unclosed_files, &key);
	if (!known)
		return 0;
	inode = BPF_CORE_READ(file, f_inode);
	if ((__u64)inode != known->inode)
		return 0;
	mtime = modified_ns(inode);
	size = BPF_CORE_READ(inode, i_size);
	/* Time stamps have the grain of a clock tick: a second write within it changes neither. Rather told twice than not, but only
	 * once for descriptors that were made of each other, as in `command > file`. */
	if (mtime == known->mtime_ns && size == known->size && !(known->unsure && is_last(file)))
		return 0;
	/* Made and left empty: that it was made is told. */
	if (known->created && size == 0 && known->size == 0)
		return 0;
	known->mtime_ns = mtime;
	known->size = size;
	known->unsure = 0;
	walk_path(user, path_of_file(file), 0);
	return tell_file(user, FB_FILE_WRITE, file_address, known->open_flags, task_address);
}

SEC("tp_btf/sys_enter")
int BPF_PROG(handle_close, struct pt_regs *regs, long number)
{
	struct task_struct *task = current_task();
	struct file *file;
	__u64 key;

	if (is_foreign_call())
		return 0;
	/* dup2 and dup3 close what their second argument was. */
	file = file_at(task, number == FB_NR_close ? (long)(__u32)ARG0(regs) : (long)(__u32)ARG1(regs));
	if (!file || !(BPF_CORE_READ(file, f_mode) & MODE_WRITE))
		return 0;
	key = (__u64)file;
	if (!bpf_map_lookup_elem(&unclosed_files, &key) || is_excluded())
		return 0;
	tell_if_changed(SCRATCH_ENTER, (__u64)file, (__u64)task);
	return 0;
}

/* Descriptors that an ending process leaves to the kernel to close. */
__noinline int tell_unclosed(__u64 task_address)
{
	struct task_struct *task = (void *)task_address;
	__u32 pid = BPF_CORE_READ(task, tgid);
	struct fdtable *table;
	struct file **slots;
	__u32 most;

	if (!bpf_map_lookup_elem(&unclosed_pids, &pid))
		return 0;
	bpf_map_delete_elem(&unclosed_pids, &pid);
	if (is_excluded())
		return 0;
	table = BPF_CORE_READ(task, files, fdt);
	if (!table)
		return 0;
	most = BPF_CORE_READ(table, max_fds);
	slots = BPF_CORE_READ(table, fd);
	for (__u32 fd = 0; fd < UNCLOSED_MAX; fd++) {
		struct file *file = NULL;

		if (fd >= most)
			break;
		bpf_probe_read_kernel(&file, sizeof(file), &slots[fd]);
		if (file && BPF_CORE_READ(file, f_mode) & MODE_WRITE)
			tell_if_changed(SCRATCH_EXEC, (__u64)file, task_address);
	}
	return 0;
}

static __always_inline void inherit_unclosed(struct task_struct *parent, struct task_struct *child)
{
	__u32 from = BPF_CORE_READ(parent, tgid), to = BPF_CORE_READ(child, tgid);
	__u8 yes = 1;

	if (settings.watching && bpf_map_lookup_elem(&unclosed_pids, &from))
		bpf_map_update_elem(&unclosed_pids, &to, &yes, BPF_ANY);
}

/* Where the string of a path ends that begins at `at`: the folder it starts from, a slash, what was written. `told`: is it watched. */
__noinline __u32 put_spelled(__u32 user, __u32 at, int dirfd, __u64 written_address)
{
	const char *written = (void *)written_address;
	struct task_struct *task = current_task();
	struct scratch *s = scratch_of(user);
	__u32 from = at, stored;
	long length;
	__u8 first = 0;
	int unsure = 0;

	if (!s)
		return at;
	s->whole = 1;
	s->depth = 0;
	s->watched = 0;
	bpf_probe_read_user(&first, 1, written);
	if (first == '/') {
		walk_path(user, (void *)BPF_CORE_READ(task, fs) + bpf_core_field_offset(struct fs_struct, root), 1);
	} else if (dirfd == AT_FDCWD) {
		walk_path(user, (void *)BPF_CORE_READ(task, fs) + bpf_core_field_offset(struct fs_struct, pwd), 1);
	} else {
		struct file *folder = file_at(task, dirfd);

		if (!folder)
			return put_empty(s, at);
		walk_path(user, path_of_file(folder), 1);
	}
	at += 8;
	if (s->depth > 0)
		at = write_names(user, at);
	if (first != '/') {
		s->record[at & SCRATCH_MASK] = '/';
		at++;
	}
	length = bpf_probe_read_user_str(&s->record[at & SCRATCH_MASK], FB_PATH_MAX, written);
	if (length > 1)
		at += (length - 1) & 0xfff;
	stored = at - from - 8;
	put_lengths(s, from, stored, s->whole && length > 0 ? stored : FB_TOTAL_UNKNOWN);
	if (s->watched)
		return at;

	s->prefix.bits = LPM_PATH_BYTES * 8;
	/* With the terminator and whatever follows: the trie looks at the longest entry that is a beginning of it. */
	s->record[at & SCRATCH_MASK] = 0;
	bpf_probe_read_kernel(s->prefix.path, LPM_PATH_BYTES, &s->record[(from + 8) & SCRATCH_MASK]);
	if (bpf_map_lookup_elem(&watched_prefixes, &s->prefix)) {
		s->watched = 1;
		return at;
	}
	/* "/x/../etc", "//etc", "/proc/self/cwd/etc": the forwarding process takes them apart. */
	if (stored >= LPM_PATH_BYTES - 1)
		unsure = 1;
	for (int i = 0; i < LPM_PATH_BYTES - 1; i++) {
		if (s->prefix.path[i] == 0)
			break;
		if (s->prefix.path[i] == '/' && (s->prefix.path[i + 1] == '/' || s->prefix.path[i + 1] == '.')) {
			unsure = 1;
			break;
		}
	}
	if (s->prefix.path[1] == 'p' && s->prefix.path[2] == 'r' && s->prefix.path[3] == 'o' && s->prefix.path[4] == 'c' &&
	    s->prefix.path[5] == '/')
		unsure = 1;
	if (unsure)
		s->watched = 2;
	return at;
}

/* What s->names says. */
__noinline int tell_names(__u32 user)
{
	struct task_struct *task = current_task();
	struct scratch *s = scratch_of(user);
	struct names *names;
	struct fb_header *header;
	struct fb_file *body;
	__u32 at, watched, flags = FB_PATH_SPELLED;

	if (!s)
		return 0;
	names = &s->names;
	header = (void *)s->record;
	body = (void *)(s->record + sizeof(*header));
	at = put_spelled(user, sizeof(*header) + sizeof(*body), names->first_at, (__u64)names->first);
	watched = s->watched;
	if (names->other_at == NO_OTHER) {
		at = put_empty(s, at);
	} else if (names->other_at == AS_WRITTEN) {
		at = put_user_string(s, at, names->other, FB_PATH_MAX);
	} else {
		at = put_spelled(user, at, names->other_at, (__u64)names->other);
		if (s->watched == 1 || !watched)
			watched = s->watched;
	}
	if (names->everywhere)
		watched = 1;
	if (!watched || !fill_actor(header, task))
		return 0;
	if (watched == 2)
		flags |= FB_PATH_CHECK;
	fill_unknown(body);
	body->mode = names->mode;
	body->owner_uid = names->owner_uid;
	body->owner_gid = names->owner_gid;
	if ((names->kind == FB_FILE_CHMOD || names->kind == FB_FILE_CREATE) && names->mode & (S_SETUID | S_SETGID))
		flags |= FB_SETUID_BITS;
	stamp(header, names->kind, FB_CLASS_FILE, flags);
	submit(s->record, at & SCRATCH_MASK, FB_CLASS_FILE);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_names, struct pt_regs *regs, long result)
{
	long number = NUMBER_OF(regs);
	struct names names = { .first_at = AT_FDCWD, .other_at = NO_OTHER, .owner_uid = FB_UID_NONE, .owner_gid = FB_UID_NONE };
	struct scratch *s;

	if (result != 0 || !settings.watching || is_foreign_call())
		return 0;
	names.first = (const char *)ARG0(regs);
	switch (number) {
	case FB_NR_unlink:
		names.kind = FB_FILE_UNLINK;
		break;
	case FB_NR_rmdir:
		names.kind = FB_FILE_RMDIR;
		break;
	case FB_NR_unlinkat:
		names.kind = ARG2(regs) & 0x200 ? FB_FILE_RMDIR : FB_FILE_UNLINK; /* AT_REMOVEDIR */
		names.first_at = (int)ARG0(regs);
		names.first = (const char *)ARG1(regs);
		break;
	case FB_NR_rename:
	case FB_NR_link:
		names.kind = number == FB_NR_rename ? FB_FILE_RENAME : FB_FILE_LINK;
		names.other_at = AT_FDCWD;
		names.other = (const char *)ARG1(regs);
		break;
	case FB_NR_renameat:
	case FB_NR_renameat2:
	case FB_NR_linkat:
		names.kind = number == FB_NR_linkat ? FB_FILE_LINK : FB_FILE_RENAME;
		names.first_at = (int)ARG0(regs);
		names.first = (const char *)ARG1(regs);
		names.other_at = (int)ARG2(regs);
		names.other = (const char *)ARG3(regs);
		break;
	case FB_NR_symlink:
		names.kind = FB_FILE_SYMLINK;
		names.first = (const char *)ARG1(regs);
		names.other_at = AS_WRITTEN;
		names.other = (const char *)ARG0(regs);
		break;
	case FB_NR_symlinkat:
		names.kind = FB_FILE_SYMLINK;
		names.first_at = (int)ARG1(regs);
		names.first = (const char *)ARG2(regs);
		names.other_at = AS_WRITTEN;
		names.other = (const char *)ARG0(regs);
		break;
	case FB_NR_mkdir:
		names.kind = FB_FILE_MKDIR;
		names.mode = ARG1(regs);
		break;
	case FB_NR_mkdirat:
		names.kind = FB_FILE_MKDIR;
		names.first_at = (int)ARG0(regs);
		names.first = (const char *)ARG1(regs);
		names.mode = ARG2(regs);
		break;
	case FB_NR_mknod:
		names.kind = FB_FILE_CREATE;
		names.mode = ARG1(regs);
		break;
	case FB_NR_mknodat:
		names.kind = FB_FILE_CREATE;
		names.first_at = (int)ARG0(regs);
		names.first = (const char *)ARG1(regs);
		names.mode = ARG2(regs);
		break;
	case FB_NR_truncate:
		names.kind = FB_FILE_WRITE;
		break;
	default:
		return 0;
	}
	if (is_excluded())
		return 0;
	s = scratch_of(SCRATCH_EXIT);
	if (!s) {
		count_lost(FB_CLASS_FILE);
		return 0;
	}
	s->names = names;
	tell_names(SCRATCH_EXIT);
	return 0;
}

/* Of an open file: the whole truth, after the change. */
static __always_inline int tell_descriptor(struct scratch *s, __u16 kind, long fd, int everywhere)
{
	struct task_struct *task = current_task();
	struct file *file = file_at(task, fd);

	if (!file)
		return 0;
	walk_path(SCRATCH_EXIT, path_of_file(file), 1);
	if (s->watched || everywhere)
		tell_file(SCRATCH_EXIT, kind, (__u64)file, 0, (__u64)task);
	return 0;
}

/* "security.capability" of setcap(8). */
static __always_inline int is_capability(const char *name)
{
	union {
		char text[24];
		__u64 words[3];
	} read = {}, wanted = { "security.capability" };

	bpf_probe_read_user_str(read.text, sizeof(read.text), name);
	return read.words[0] == wanted.words[0] && read.words[1] == wanted.words[1] && read.words[2] == wanted.words[2];
}

SEC("tp_btf/sys_exit")
int BPF_PROG(handle_attributes, struct pt_regs *regs, long result)
{
	long number = NUMBER_OF(regs);
	struct names names = { .first_at = AT_FDCWD, .other_at = NO_OTHER, .owner_uid = FB_UID_NONE, .owner_gid = FB_UID_NONE };
	struct scratch *s;
	int by_descriptor = 0;

	if (result != 0 || is_foreign_call())
		return 0;
	names.kind = FB_FILE_CHMOD;
	names.first = (const char *)ARG0(regs);
	switch (number) {
	case FB_NR_fchmod:
		by_descriptor = 1;
		/* fallthrough */
	case FB_NR_chmod:
		names.mode = ARG1(regs);
		break;
	case FB_NR_fchmodat:
	case FB_NR_fchmodat2:
		names.first_at = (int)ARG0(regs);
		names.first = (const char *)ARG1(regs);
		names.mode = ARG2(regs);
		break;
	case FB_NR_fchown:
		by_descriptor = 1;
		/* fallthrough */
	case FB_NR_chown:
	case FB_NR_lchown:
		names.kind = FB_FILE_CHOWN;
		names.owner_uid = ARG1(regs);
		names.owner_gid = ARG2(regs);
		break;
	case FB_NR_fchownat:
		names.kind = FB_FILE_CHOWN;
		names.first_at = (int)ARG0(regs);
		names.first = (const char *)ARG1(regs);
		names.owner_uid = ARG2(regs);
		names.owner_gid = ARG3(regs);
		by_descriptor = (ARG4(regs) & AT_EMPTY_PATH) != 0;
		break;
	case FB_NR_fsetxattr:
	case FB_NR_fremovexattr:
		by_descriptor = 1;
		/* fallthrough */
	case FB_NR_setxattr:
	case FB_NR_lsetxattr:
	case FB_NR_removexattr:
	case FB_NR_lremovexattr:
		names.kind = FB_FILE_CAPABILITY;
		if (!is_capability((const char *)ARG1(regs)))
			return 0;
		break;
	default:
		return 0;
	}
	/* What makes a program privileged is told wherever it is. */
	if (names.kind == FB_FILE_CAPABILITY || (names.kind == FB_FILE_CHMOD && names.mode & S_SETUID))
		names.everywhere = 1;
	if ((!settings.watching && !names.everywhere) || is_excluded())
		return 0;
	s = scratch_of(SCRATCH_EXIT);
	if (!s)
		count_lost(FB_CLASS_FILE);
	else if (by_descriptor)
		tell_descriptor(s, names.kind, (int)ARG0(regs), names.everywhere);
	else {
		s->names = names;
		tell_names(SCRATCH_EXIT);
	}
	return 0;
}

#endif
