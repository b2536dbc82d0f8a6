#define _GNU_SOURCE
#include "programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "numbers.h"
#include "sensor.skel.h"

#define BTF_FILE "/sys/kernel/btf/vmlinux"

/* The line of libbpf that says why, and the program that it says it of. */
static char last_complaint[200];
static char failed_program[64];

/* The verifier's last word stands before the line with its counts. */
static void remember_verdict(const char *log)
{
	const char *end = strstr(log, "\nprocessed "), *begin = end;

	while (begin && begin > log && begin[-1] != '\n')
		begin--;
	if (end)
		snprintf(last_complaint, sizeof(last_complaint), "the verifier says: %.*s", (int)(end - begin), begin);
}

static int listen_to_libbpf(enum libbpf_print_level level, const char *format, va_list arguments)
{
	char *line = NULL;
	const char *name;

	if (level != LIBBPF_WARN || vasprintf(&line, format, arguments) < 0)
		return 0;
	name = strstr(line, "prog '");
	if (name && (strstr(line, "failed to load") || strstr(line, "failed to find") || strstr(line, "failed to relocate"))) {
		size_t length = strcspn(name + 6, "'");

		if (length < sizeof(failed_program)) {
			memcpy(failed_program, name + 6, length);
			failed_program[length] = 0;
		}
	}
	if (strstr(line, "BEGIN PROG LOAD LOG")) {
		remember_verdict(line);
	} else if (!last_complaint[0]) {
		line[strcspn(line, "\n")] = 0;
		snprintf(last_complaint, sizeof(last_complaint), "%.199s", strncmp(line, "libbpf: ", 8) ? line : line + 8);
	}
	free(line);
	return 0;
}

static __u32 inode_of(const char *path)
{
	struct stat facts;

	return stat(path, &facts) ? 0 : facts.st_ino;
}

static void blame(struct programs *programs, enum fb_source_id source, int error, const char *why)
{
	struct source_state *state = &programs->sources[source];

	if (state->error)
		return;
	state->attached = false;
	state->error = error;
	snprintf(state->why, sizeof(state->why), "%s", why);
}

static void blame_all(struct programs *programs, int error, const char *why)
{
	for (int source = 0; source < FB_SOURCES; source++)
		blame(programs, source, error, why);
}

/* Which sources cannot be without a program. */
static const struct {
	const char *program;
	__u32 sources;
} needed_by[] = {
	{ "on_exec", 1u << FB_SOURCE_EXEC },
	{ "on_exit", 1u << FB_SOURCE_EXIT },
	{ "on_fork", 1u << FB_SOURCE_FORK },
	{ "on_tcp_state", 1u << FB_SOURCE_TCP },
	{ "on_sys_exit", 1u << FB_SOURCE_ACCEPT | 1u << FB_SOURCE_UDP | 1u << FB_SOURCE_DNS | 1u << FB_SOURCE_FILE |
				 1u << FB_SOURCE_FILE_WRITE | 1u << FB_SOURCE_KERNEL_CALL | 1u << FB_SOURCE_CREDENTIALS },
	{ "on_sys_enter", 1u << FB_SOURCE_FILE_WRITE | 1u << FB_SOURCE_CREDENTIALS },
	{ "handle_open", 1u << FB_SOURCE_FILE | 1u << FB_SOURCE_FILE_WRITE },
	{ "handle_names", 1u << FB_SOURCE_FILE },
	{ "handle_attributes", 1u << FB_SOURCE_FILE },
	{ "handle_close", 1u << FB_SOURCE_FILE_WRITE },
	{ "handle_accept", 1u << FB_SOURCE_ACCEPT },
	{ "handle_send", 1u << FB_SOURCE_UDP | 1u << FB_SOURCE_DNS },
	{ "handle_receive", 1u << FB_SOURCE_DNS },
	{ "handle_kernel_call", 1u << FB_SOURCE_KERNEL_CALL },
	{ "handle_mount", 1u << FB_SOURCE_KERNEL_CALL },
	{ "handle_credentials", 1u << FB_SOURCE_CREDENTIALS },
	{ "handle_credentials_before", 1u << FB_SOURCE_CREDENTIALS },
};
#define PROGRAMS (sizeof(needed_by) / sizeof(needed_by[0]))

static void blame_program(struct programs *programs, const char *name, int error, const char *why)
{
	for (size_t n = 0; n < PROGRAMS; n++)
		if (strcmp(needed_by[n].program, name) == 0)
			for (int source = 0; source < FB_SOURCES; source++)
				if (needed_by[n].sources & 1u << source)
					blame(programs, source, error, why);
}

/* Programs that the kernel refused once are left out the next time. */
static int load_what_can_be(struct programs *programs)
{
	const char *left_out[PROGRAMS];
	size_t count = 0;

	for (;;) {
		struct sensor *skeleton = sensor__open();
		int cpus = libbpf_num_possible_cpus(), error;

		if (!skeleton) {
			error = errno;
			blame_all(programs, error, last_complaint[0] ? last_complaint : "the programs cannot be read");
			return error;
		}
		for (size_t n = 0; n < count; n++)
			bpf_program__set_autoload(bpf_object__find_program_by_name(skeleton->obj, left_out[n]), false);
		skeleton->rodata->own_pid_ns = inode_of("/proc/self/ns/pid");
		skeleton->rodata->own_net_ns = inode_of("/proc/self/ns/net");
		skeleton->bss->settings.own_pid = getpid();
		bpf_map__set_max_entries(skeleton->maps.scratches, cpus * 3);
		bpf_map__set_max_entries(skeleton->maps.ring_process, programs->ring_bytes[0]);
		bpf_map__set_max_entries(skeleton->maps.ring_bulk, programs->ring_bytes[1]);
		failed_program[0] = 0;
		last_complaint[0] = 0;
		error = -sensor__load(skeleton);
		if (!error) {
			programs->skeleton = skeleton;
			return 0;
		}
		sensor__destroy(skeleton);
		if (error == EPERM || error == EACCES) {
			/* EACCES is the verifier's word too. */
			if (error == EPERM || !failed_program[0]) {
				blame_all(programs, error, "no permission: loading programs into the kernel needs CAP_BPF and CAP_PERFMON");
				return error;
			}
		}
		if (!failed_program[0] || count == PROGRAMS) {
			blame_all(programs, error, last_complaint[0] ? last_complaint : strerror(error));
			return error;
		}
		size_t known = count;

		for (size_t n = 0; n < PROGRAMS; n++)
			if (strcmp(needed_by[n].program, failed_program) == 0)
				left_out[count++] = needed_by[n].program;
		if (count == known) {
			blame_all(programs, error, last_complaint);
			return error;
		}
		blame_program(programs, failed_program, error, last_complaint);
		fprintf(stderr, "firebreak-sensor: %s was refused: %s\n", failed_program, last_complaint);
	}
}

static void attach(struct programs *programs, struct bpf_program *program, struct bpf_link **link)
{
	if (*link || !program || !bpf_program__autoload(program))
		return;
	*link = bpf_program__attach(program);
	if (!*link)
		blame_program(programs, bpf_program__name(program), errno, strerror(errno));
}

static void use_handler(struct bpf_map *map, __u32 handler, struct bpf_program *program)
{
	int fd = bpf_program__fd(program);

	if (fd >= 0)
		bpf_map__update_elem(map, &handler, sizeof(handler), &fd, sizeof(fd), 0);
}

int programs_start(struct programs *programs, size_t ring_process_bytes, size_t ring_bulk_bytes)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct sensor *skeleton;
	int error;

	memset(programs, 0, sizeof(*programs));
	programs->ring_bytes[0] = ring_process_bytes;
	programs->ring_bytes[1] = ring_bulk_bytes;
	libbpf_set_print(listen_to_libbpf);
	if (access(BTF_FILE, R_OK)) {
		blame_all(programs, errno, "this kernel tells no types: " BTF_FILE " is missing (CONFIG_DEBUG_INFO_BTF)");
		return ENOENT;
	}
	/* Kernels before 5.11 count maps as locked memory. Where it is refused, loading tells. */
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	libbpf_set_memlock_rlim(0);
	error = load_what_can_be(programs);
	if (error)
		return error;
	skeleton = programs->skeleton;

	use_handler(skeleton->maps.exit_programs, ON_OPEN, skeleton->progs.handle_open);
	use_handler(skeleton->maps.exit_programs, ON_NAMES, skeleton->progs.handle_names);
	use_handler(skeleton->maps.exit_programs, ON_ATTRIBUTES, skeleton->progs.handle_attributes);
	use_handler(skeleton->maps.exit_programs, ON_ACCEPT, skeleton->progs.handle_accept);
	use_handler(skeleton->maps.exit_programs, ON_SEND, skeleton->progs.handle_send);
	use_handler(skeleton->maps.exit_programs, ON_RECEIVE, skeleton->progs.handle_receive);
	use_handler(skeleton->maps.exit_programs, ON_KERNEL_CALL, skeleton->progs.handle_kernel_call);
	use_handler(skeleton->maps.exit_programs, ON_MOUNT, skeleton->progs.handle_mount);
	use_handler(skeleton->maps.exit_programs, ON_CREDENTIALS, skeleton->progs.handle_credentials);
	use_handler(skeleton->maps.enter_programs, ON_CLOSE, skeleton->progs.handle_close);
	use_handler(skeleton->maps.enter_programs, ON_CREDENTIALS_BEFORE, skeleton->progs.handle_credentials_before);

	attach(programs, skeleton->progs.on_exec, &skeleton->links.on_exec);
	attach(programs, skeleton->progs.on_exit, &skeleton->links.on_exit);
	attach(programs, skeleton->progs.on_fork, &skeleton->links.on_fork);
	attach(programs, skeleton->progs.on_tcp_state, &skeleton->links.on_tcp_state);
	attach(programs, skeleton->progs.on_sys_exit, &skeleton->links.on_sys_exit);
	attach(programs, skeleton->progs.on_sys_enter, &skeleton->links.on_sys_enter);
	error = 0;
	for (int source = 0; source < FB_SOURCES; source++) {
		programs->sources[source].attached = programs->sources[source].error == 0;
		error = programs->sources[source].error;
	}
	for (int source = 0; source < FB_SOURCES; source++)
		if (programs->sources[source].attached)
			error = 0;
	return error;
}

static void lead(__u8 *handlers, long number, __u8 handler)
{
	if (number >= 0 && number < SYSCALLS_MAX)
		handlers[number] = handler;
}

void programs_apply(struct programs *programs, __u32 switches, bool watching)
{
	struct sensor *skeleton = programs->skeleton;
	__u8 *leave = skeleton->bss->exit_handlers, *enter = skeleton->bss->enter_handlers;
	__u8 open = switches & FB_SWITCH_FILE && watching ? ON_OPEN : 0;
	__u8 names = open ? ON_NAMES : 0;
	__u8 attributes = switches & FB_SWITCH_FILE ? ON_ATTRIBUTES : 0;
	__u8 close = open ? ON_CLOSE : 0;
	__u8 accept = switches & FB_SWITCH_NETWORK ? ON_ACCEPT : 0;
	__u8 send = switches & (FB_SWITCH_NETWORK | FB_SWITCH_DNS) ? ON_SEND : 0;
	__u8 receive = switches & FB_SWITCH_DNS ? ON_RECEIVE : 0;
	__u8 call = switches & FB_SWITCH_KERNEL_CALLS ? ON_KERNEL_CALL : 0;
	__u8 mount = switches & FB_SWITCH_KERNEL_CALLS ? ON_MOUNT : 0;
	__u8 after = switches & FB_SWITCH_KERNEL_CALLS ? ON_CREDENTIALS : 0;
	__u8 before = switches & FB_SWITCH_KERNEL_CALLS ? ON_CREDENTIALS_BEFORE : 0;
	const struct {
		long number;
		__u8 on_exit, on_enter;
	} table[] = {
		{ FB_NR_open, open, 0 }, { FB_NR_openat, open, 0 }, { FB_NR_openat2, open, 0 }, { FB_NR_creat, open, 0 },
		{ FB_NR_close, 0, close }, { FB_NR_dup2, 0, close }, { FB_NR_dup3, 0, close },
		{ FB_NR_unlink, names, 0 }, { FB_NR_unlinkat, names, 0 }, { FB_NR_rmdir, names, 0 },
		{ FB_NR_rename, names, 0 }, { FB_NR_renameat, names, 0 }, { FB_NR_renameat2, names, 0 },
		{ FB_NR_link, names, 0 }, { FB_NR_linkat, names, 0 }, { FB_NR_symlink, names, 0 }, { FB_NR_symlinkat, names, 0 },
		{ FB_NR_mkdir, names, 0 }, { FB_NR_mkdirat, names, 0 }, { FB_NR_mknod, names, 0 }, { FB_NR_mknodat, names, 0 },
		{ FB_NR_truncate, names, 0 },
		{ FB_NR_chmod, attributes, 0 }, { FB_NR_fchmod, attributes, 0 }, { FB_NR_fchmodat, attributes, 0 },
		{ FB_NR_fchmodat2, attributes, 0 }, { FB_NR_chown, attributes, 0 }, { FB_NR_fchown, attributes, 0 },
		{ FB_NR_lchown, attributes, 0 }, { FB_NR_fchownat, attributes, 0 }, { FB_NR_setxattr, attributes, 0 },
		{ FB_NR_lsetxattr, attributes, 0 }, { FB_NR_fsetxattr, attributes, 0 }, { FB_NR_removexattr, attributes, 0 },
		{ FB_NR_lremovexattr, attributes, 0 }, { FB_NR_fremovexattr, attributes, 0 },
		{ FB_NR_accept, accept, 0 }, { FB_NR_accept4, accept, 0 },
		{ FB_NR_sendto, send, 0 }, { FB_NR_sendmsg, send, 0 }, { FB_NR_sendmmsg, send, 0 },
		{ FB_NR_recvfrom, receive, 0 }, { FB_NR_recvmsg, receive, 0 }, { FB_NR_recvmmsg, receive, 0 },
		{ FB_NR_memfd_create, call, 0 }, { FB_NR_ptrace, call, 0 }, { FB_NR_process_vm_writev, call, 0 },
		{ FB_NR_init_module, call, 0 }, { FB_NR_finit_module, call, 0 }, { FB_NR_delete_module, call, 0 },
		{ FB_NR_bpf, call, 0 }, { FB_NR_setns, call, 0 }, { FB_NR_unshare, call, 0 },
		{ FB_NR_mount, mount, 0 }, { FB_NR_move_mount, mount, 0 }, { FB_NR_umount2, mount, 0 },
		{ FB_NR_pivot_root, mount, 0 }, { FB_NR_chroot, mount, 0 },
		{ FB_NR_setuid, after, before }, { FB_NR_setgid, after, before }, { FB_NR_setreuid, after, before },
		{ FB_NR_setregid, after, before }, { FB_NR_setresuid, after, before }, { FB_NR_setresgid, after, before },
		{ FB_NR_capset, after, before },
	};
	bool any_exit = false, any_enter = false;

	for (size_t n = 0; n < sizeof(table) / sizeof(table[0]); n++) {
		lead(leave, table[n].number, table[n].on_exit);
		lead(enter, table[n].number, table[n].on_enter);
		any_exit |= table[n].on_exit != 0;
		any_enter |= table[n].on_enter != 0;
	}
	if (any_exit) {
		attach(programs, skeleton->progs.on_sys_exit, &skeleton->links.on_sys_exit);
	} else {
		bpf_link__destroy(skeleton->links.on_sys_exit);
		skeleton->links.on_sys_exit = NULL;
	}
	if (any_enter) {
		attach(programs, skeleton->progs.on_sys_enter, &skeleton->links.on_sys_enter);
	} else {
		bpf_link__destroy(skeleton->links.on_sys_enter);
		skeleton->links.on_sys_enter = NULL;
	}
}

void programs_missed(struct programs *programs, __u64 missed[FB_CLASSES])
{
	const struct {
		struct bpf_program *program;
		enum fb_class class;
	} counted[] = {
		{ programs->skeleton->progs.on_exec, FB_CLASS_PROCESS },   { programs->skeleton->progs.on_exit, FB_CLASS_PROCESS },
		{ programs->skeleton->progs.on_fork, FB_CLASS_PROCESS },   { programs->skeleton->progs.on_tcp_state, FB_CLASS_NETWORK },
		{ programs->skeleton->progs.on_sys_exit, FB_CLASS_PROCESS }, { programs->skeleton->progs.on_sys_enter, FB_CLASS_PROCESS },
	};

	memset(missed, 0, sizeof(__u64) * FB_CLASSES);
	for (size_t n = 0; n < sizeof(counted) / sizeof(counted[0]); n++) {
		struct bpf_prog_info info = {};
		__u32 length = sizeof(info);
		int fd = bpf_program__fd(counted[n].program);

		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &length))
			missed[counted[n].class] += info.recursion_misses;
	}
}
