/* Load for tests and benches of the sensor, and the cost of single calls in nanoseconds of processor time. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static unsigned long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void start(char *number)
{
	char *arguments[] = { "storm-child", number, NULL };
	pid_t pid;

	if (posix_spawn(&pid, NOTHING, NULL, NULL, arguments, environ))
		exit(1);
}

/* COUNT processes at RATE a second (0: as fast as it goes), at most 64 at a time: on a busy machine waiting for each alone would be
 * what takes the time. Prints how many there were a second. */
static void processes(unsigned long count, unsigned long rate)
{
	unsigned long long begin = now_ns();
	unsigned long alive = 0;
	char number[24];

	for (unsigned long n = 0; n < count; n++) {
		snprintf(number, sizeof(number), "%lu", n);
		start(number);
		alive++;
		while (alive > 0 && waitpid(-1, NULL, alive < 64 ? WNOHANG : 0) > 0)
			alive--;
		while (rate && now_ns() < begin + (n + 1) * 1000000000ull / rate)
			nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	}
	while (alive > 0 && wait(NULL) > 0)
		alive--;
	printf("%.0f\n", count * 1e9 / (now_ns() - begin));
}

/* A copy of /bin/true that is only in memory, run; prints its pid. */
static int run_from_memory(void)
{
	int memory = syscall(SYS_memfd_create, "innocent", 0), program = open("/bin/true", O_RDONLY), status;
	char *arguments[] = { "kworker", NULL };
	char buffer[65536];
	ssize_t size;
	pid_t pid;

	while ((size = read(program, buffer, sizeof(buffer))) > 0)
		if (write(memory, buffer, size) != size)
			return 1;
	pid = fork();
	if (pid == 0) {
		fexecve(memory, arguments, environ);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	printf("%d\n", pid);
	return 0;
}

static void *wait_a_little(void *nothing)
{
	usleep(20000);
	return nothing;
}

/* Ends with 3 while its threads end too; prints its pid. */
static void end_with_threads(void)
{
	pthread_t thread;

	printf("%d\n", getpid());
	fflush(stdout);
	for (int n = 0; n < 20; n++)
		pthread_create(&thread, NULL, wait_a_little, NULL);
	usleep(20000);
	_exit(3);
}

/* Processor time of this process and its ended children: what a busy machine makes it wait does not count. */
static unsigned long long spent_ns(void)
{
	struct rusage self, children;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	return (self.ru_utime.tv_sec + self.ru_stime.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1000000000ull +
	       (self.ru_utime.tv_usec + self.ru_stime.tv_usec + children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1000ull;
}

static void print_cost(unsigned long count, unsigned long long begin)
{
	printf("%.1f\n", (double)(spent_ns() - begin) / count);
}

int main(int count, char **arguments)
{
	const char *what = count > 1 ? arguments[1] : "";
	unsigned long times = count > 2 ? strtoul(arguments[2], NULL, 10) : 0;
	const char *path = count > 3 ? arguments[3] : "";
	unsigned long long begin;

	if (strcmp(what, "memory") == 0)
		return run_from_memory();
	if (strcmp(what, "threads") == 0)
		end_with_threads();
	if (strcmp(what, "processes") == 0) {
		processes(times, strtoul(path, NULL, 10));
		return 0;
	}
	begin = spent_ns();
	if (strcmp(what, "exec") == 0) {
		for (unsigned long n = 0; n < times; n++)
			start("0"), wait(NULL);
	} else if (strcmp(what, "read") == 0) {
		for (unsigned long n = 0; n < times; n++)
			close(open(path, O_RDONLY | O_CLOEXEC));
	} else if (strcmp(what, "write") == 0) {
		for (unsigned long n = 0; n < times; n++) {
			int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

			if (write(fd, "x", 1) != 1)
				return 1;
			close(fd);
		}
	} else if (strcmp(what, "call") == 0) {
		for (unsigned long n = 0; n < times; n++)
			syscall(SYS_getppid);
	} else {
		return 64;
	}
	print_cost(times, begin);
	return 0;
}
