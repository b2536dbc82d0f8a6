/* Arguments and results of system calls. On the architectures here a call leaves its arguments in pt_regs, so that one look when it
 * returns is enough; only what is gone by then (a closed file, the old credentials) needs the look before. */
#ifndef FIREBREAK_SYSCALLS_H
#define FIREBREAK_SYSCALLS_H

#include "numbers.h"
#include "paths.h"

#if defined(__TARGET_ARCH_x86)
#define NUMBER_OF(regs) ((long)(regs)->orig_ax)
#define ARG0(regs) ((regs)->di)
#define ARG1(regs) ((regs)->si)
#define ARG2(regs) ((regs)->dx)
#define ARG3(regs) ((regs)->r10)
#define ARG4(regs) ((regs)->r8)
#elif defined(__TARGET_ARCH_arm64)
#define NUMBER_OF(regs) ((long)(regs)->syscallno)
#define ARG0(regs) ((regs)->orig_x0)
#define ARG1(regs) ((regs)->regs[1])
#define ARG2(regs) ((regs)->regs[2])
#define ARG3(regs) ((regs)->regs[3])
#define ARG4(regs) ((regs)->regs[4])
#else
#error "no system call registers known for this architecture"
#endif

/* Which handler a call goes to, 0: none. Filled by the forwarding process from the switches. */
__u8 exit_handlers[SYSCALLS_MAX];
__u8 enter_handlers[SYSCALLS_MAX];

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, EXIT_HANDLERS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} exit_programs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, ENTER_HANDLERS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} enter_programs SEC(".maps");

#if defined(__TARGET_ARCH_x86)
#define TS_COMPAT 0x2
static __always_inline int is_foreign_call(void)
{
	/* A 32-bit call has other numbers and registers: told as what it is not would be worse than not told (README). */
	return BPF_CORE_READ(current_task(), thread_info.status) & TS_COMPAT;
}
#else
static __always_inline int is_foreign_call(void)
{
	return 0;
}
#endif

SEC("tp_btf/sys_exit")
int BPF_PROG(on_sys_exit, struct pt_regs *regs, long result)
{
	long number = NUMBER_OF(regs);
	__u32 handler;

	if (number < 0 || number >= SYSCALLS_MAX)
		return 0;
	handler = exit_handlers[number & (SYSCALLS_MAX - 1)];
	if (handler)
		bpf_tail_call(ctx, &exit_programs, handler);
	return 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(on_sys_enter, struct pt_regs *regs, long number)
{
	__u32 handler;

	if (number < 0 || number >= SYSCALLS_MAX)
		return 0;
	handler = enter_handlers[number & (SYSCALLS_MAX - 1)];
	if (handler)
		bpf_tail_call(ctx, &enter_programs, handler);
	return 0;
}

/* Processes whose own doings with files and datagrams are not told: the sensor and the agent. */
static __always_inline int is_excluded(void)
{
	__u32 pid = pid_of(current_task());

	return pid && (pid == settings.own_pid || pid == settings.excluded_pid);
}

#endif
