/* The shortest program there is. A C library asks the processor for its features when it starts, which a virtual machine answers so
 * slowly that two cores cannot start 2,000 programs a second. */
void _start(void)
{
#if defined(__x86_64__)
	__asm__ volatile("mov $60, %eax; xor %edi, %edi; syscall");
#elif defined(__aarch64__)
	__asm__ volatile("mov x8, #93; mov x0, #0; svc #0");
#endif
	__builtin_unreachable();
}
