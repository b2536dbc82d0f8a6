/* firebreak-sensor: puts the programs into the kernel and forwards what they tell. See ../README.md. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "forwarder.h"
#include "privileges.h"
#include "sensor.skel.h"
#include "take.h"
#include "tell.h"

/* sysexits.h: no service, wrong input, no permission. */
#define ENDS_UNAVAILABLE 69
#define ENDS_WRONG_INPUT 65
#define ENDS_NO_PERMISSION 77
#define ENDS_WRONG_USE 64

static struct forwarder forwarder;

static bool is_waiting(struct forwarder *f)
{
	return ring_next(&f->rings[RING_PROCESS]) > 0 || ring_next(&f->rings[RING_BULK]) > 0;
}

static void set_wall_clock(struct forwarder *f)
{
	f->programs.skeleton->bss->settings.wall_offset_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
}

static void configure(struct forwarder *f)
{
	struct fb_settings *settings = &f->programs.skeleton->bss->settings;

	/* Off while it changes; the opens of `watched_replace` need the look at open calls. */
	settings->switches = 0;
	settings->watching = 0;
	programs_apply(&f->programs, FB_SWITCH_FILE, true);
	watched_replace(&f->watched, &f->programs, f->incoming, f->configuration.paths);
	set_wall_clock(f);
	settings->excluded_pid = f->configuration.excluded_pid;
	settings->watching = f->configuration.switches & FB_SWITCH_FILE && f->configuration.paths > 0;
	programs_apply(&f->programs, f->configuration.switches, settings->watching);
	settings->switches = f->configuration.switches;
	tell_configured(f);
	tell_stats(f);
	f->next_stats_ns = clock_ns(CLOCK_MONOTONIC) + f->configuration.stats_interval_ms * 1000000ull;
}

/* Reads and follows stdin. -1: go on; else the status to end with. */
static int listen(struct forwarder *f)
{
	const char *why;
	int error;

	switch (input_read(&f->input, STDIN_FILENO, &f->configuration, f->incoming, &why)) {
	case INPUT_ENDED:
		return EXIT_SUCCESS;
	case INPUT_WRONG:
		fprintf(stderr, "firebreak-sensor: wrong configuration: %s\n", why);
		return ENDS_WRONG_INPUT;
	case INPUT_WAITING:
		return -1;
	case INPUT_CONFIGURED:
		break;
	}
	/* The answer needs an empty batch: what is on its way goes first. */
	while ((error = output_write(&f->output, STDOUT_FILENO)) == EAGAIN) {
		struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
		poll(&out, 1, -1);
	}
	if (error)
		return EXIT_FAILURE;
	configure(f);
	return -1;
}

/* How many records may be late by when nobody woke the forwarder: a program in the kernel may have looked at `quiet` just before. */
#define LOOK_AGAIN_MS 20
/* Pauses without a record after which it is worth to be woken. */
#define PAUSES 4
/* Pauses get longer while so many records come in one: the reader is woken so much less often. */
#define MANY_RECORDS 6
#define LONGEST_PAUSE_NS 16000000ull

static void set_pause(struct forwarder *f, __u32 processes, __u32 others)
{
	__u64 least = f->configuration.coalesce_us * 1000ull, most = least > LONGEST_PAUSE_NS ? least : LONGEST_PAUSE_NS;

	if (processes + others >= MANY_RECORDS)
		f->pause_ns = f->pause_ns * 2 < most ? f->pause_ns * 2 : most;
	else if (processes + others < MANY_RECORDS / 2)
		f->pause_ns /= 2;
	if (f->pause_ns < least)
		f->pause_ns = least;
	f->processes_flood = processes >= MANY_RECORDS;
}

static void set_quiet(struct fb_settings *settings, bool processes, bool others)
{
	__atomic_store_n(&settings->quiet_process, processes, __ATOMIC_SEQ_CST);
	__atomic_store_n(&settings->quiet, others, __ATOMIC_SEQ_CST);
}

/* Gathers for a pause; true when stdin has something. A process ends the longer part of it, unless it is they that flood. */
static bool pause_for_more(struct forwarder *f, struct fb_settings *settings)
{
	__u64 least = f->configuration.coalesce_us * 1000ull;
	struct pollfd polled[] = {
		{ .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = f->rings[RING_PROCESS].fd, .events = POLLIN },
	};
	struct timespec pause = { .tv_nsec = f->processes_flood ? f->pause_ns : least };

	set_quiet(settings, true, true);
	if (ppoll(polled, 1, &pause, NULL) > 0)
		return true;
	if (f->processes_flood || f->pause_ns <= least)
		return false;
	set_quiet(settings, false, true);
	pause.tv_nsec = f->pause_ns - least;
	ppoll(polled, 2, &pause, NULL);
	return polled[0].revents != 0;
}

/* Waits for something to do; true when stdin is it. */
static bool wait_for_work(struct forwarder *f, bool blocked)
{
	struct fb_settings *settings = &f->programs.skeleton->bss->settings;
	__u64 now = clock_ns(CLOCK_MONOTONIC), until_stats;
	struct pollfd polled[] = {
		{ .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = blocked ? STDOUT_FILENO : -1, .events = POLLOUT },
		/* While the reader is slow the rings fill, and the kernel counts what does not fit. */
		{ .fd = blocked ? -1 : f->rings[RING_PROCESS].fd, .events = POLLIN },
		{ .fd = blocked ? -1 : f->rings[RING_BULK].fd, .events = POLLIN },
	};
	bool was_quiet = settings->quiet;
	int timeout = -1;

	if (!blocked && now - f->last_record_ns < f->pause_ns * PAUSES)
		return pause_for_more(f, settings);
	set_quiet(settings, false, false);
	if (!blocked && (f->output.filled > 0 || is_waiting(f)))
		timeout = 0;
	else if (!blocked && f->next_stats_ns) {
		until_stats = f->next_stats_ns <= now ? 0 : (f->next_stats_ns - now) / 1000000 + 1;
		timeout = was_quiet && until_stats > LOOK_AGAIN_MS ? LOOK_AGAIN_MS : (int)until_stats;
	}
	poll(polled, 4, timeout);
	return polled[0].revents != 0;
}

/* Until stdin ends. Returns the status to end with. */
static int forward(struct forwarder *f)
{
	bool blocked = false;

	for (;;) {
		int error, status = wait_for_work(f, blocked) ? listen(f) : -1;

		if (status >= 0)
			return status;
		if (!blocked) {
			__u64 now = clock_ns(CLOCK_MONOTONIC);

			__u32 processes = take_from(f, &f->rings[RING_PROCESS]);

			set_pause(f, processes, take_from(f, &f->rings[RING_BULK]));
			if (f->output.filled > 0)
				f->last_record_ns = now;
			if (f->next_stats_ns && f->next_stats_ns <= now && output_has_room(&f->output)) {
				set_wall_clock(f);
				watched_refresh(&f->watched, &f->programs);
				tell_stats(f);
				f->last_stats_ns = now;
				f->next_stats_ns = now + f->configuration.stats_interval_ms * 1000000ull;
			}
		}
		if (f->output.filled > 0) {
			error = output_write(&f->output, STDOUT_FILENO);
			blocked = error == EAGAIN;
			if (error && !blocked)
				return error == EPIPE ? EXIT_SUCCESS : EXIT_FAILURE;
		}
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: firebreak-sensor [--ring-process-kib N] [--ring-bulk-kib N] | --version\n"
			"Started by firebreak-agent: configuration on stdin, records on stdout (records.h).\n"
			"N: a power of two, 64..65536.\n");
	return ENDS_WRONG_USE;
}

static size_t ring_size(const char *text)
{
	char *end;
	unsigned long kib = strtoul(text, &end, 10);

	return *end || kib < 64 || kib > 65536 || kib & (kib - 1) ? 0 : kib * 1024;
}

int main(int count, char **arguments)
{
	size_t process_bytes = 4 << 20, bulk_bytes = 1 << 20;
	pid_t parent = getppid();
	int error;

	for (int n = 1; n < count; n++) {
		size_t *size = NULL;

		if (strcmp(arguments[n], "--version") == 0) {
			printf("firebreak-sensor %s, protocol %d\n", FB_SENSOR_VERSION, FB_PROTOCOL_VERSION);
			return EXIT_SUCCESS;
		}
		if (strcmp(arguments[n], "--ring-process-kib") == 0)
			size = &process_bytes;
		else if (strcmp(arguments[n], "--ring-bulk-kib") == 0)
			size = &bulk_bytes;
		if (!size || n + 1 == count || !(*size = ring_size(arguments[++n])))
			return usage();
	}
	if (isatty(STDOUT_FILENO))
		return usage();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return EXIT_SUCCESS;
	signal(SIGPIPE, SIG_IGN);
	fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);

	error = programs_start(&forwarder.programs, process_bytes, bulk_bytes);
	if (!error) {
		struct sensor *skeleton = forwarder.programs.skeleton;

		error = -ring_open(&forwarder.rings[RING_PROCESS], bpf_map__fd(skeleton->maps.ring_process), process_bytes);
		if (!error)
			error = -ring_open(&forwarder.rings[RING_BULK], bpf_map__fd(skeleton->maps.ring_bulk), bulk_bytes);
		if (error) {
			fprintf(stderr, "firebreak-sensor: the ring buffers cannot be mapped: %s\n", strerror(error));
			return ENDS_UNAVAILABLE;
		}
	}
	say_hello(&forwarder);
	if (error) {
		output_write(&forwarder.output, STDOUT_FILENO);
		fprintf(stderr, "firebreak-sensor: %s\n", forwarder.programs.sources[0].why);
		return error == EPERM || error == EACCES ? ENDS_NO_PERMISSION : ENDS_UNAVAILABLE;
	}
	fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
	drop_privileges();
	return forward(&forwarder);
}
