/* firebreak-sensor: puts the programs into the kernel and forwards what they tell. See ../README.md. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "configure.h"
#include "output.h"
#include "programs.h"
#include "ring.h"
#include "sensor.skel.h"
#include "spelled.h"
#include "watched.h"

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#endif
#ifndef CAP_BPF
#define CAP_BPF 39
#endif

/* sysexits.h: no service, wrong input, no permission. */
#define ENDS_UNAVAILABLE 69
#define ENDS_WRONG_INPUT 65
#define ENDS_NO_PERMISSION 77
#define ENDS_WRONG_USE 64

enum { RING_PROCESS, RING_BULK, RINGS };

struct forwarder {
	struct programs programs;
	struct ring rings[RINGS];
	struct output output;
	struct input input;
	struct watched watched;
	struct watched_path incoming[FB_PATHS_MAX];
	struct fb_configure configuration;
	__u64 forwarded[FB_CLASSES];
	__u64 left_out[FB_CLASSES]; /* spelled paths that turned out not to be watched */
	__u64 next_stats_ns;
	__u64 last_stats_ns;
	__u64 last_record_ns;
};

static struct forwarder forwarder;

static __u64 clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static uint8_t *put(uint8_t *to, const void *from, size_t length)
{
	memcpy(to, from, length);
	return to + length;
}

static uint8_t *put_text(uint8_t *to, const void *text, __u32 length)
{
	to = put(to, &length, 4);
	to = put(to, &length, 4);
	return put(to, text, length);
}

static uint8_t *put_header(uint8_t *to, __u16 kind)
{
	struct fb_header header = { .version = FB_PROTOCOL_VERSION,
				    .kind = kind,
				    .flags = FB_NO_ACTOR,
				    .monotonic_ns = clock_ns(CLOCK_MONOTONIC),
				    .boottime_ns = clock_ns(CLOCK_BOOTTIME) };

	return put(to, &header, sizeof(header));
}

static __u32 inode_number(const char *path)
{
	char target[64] = {};
	const char *number;

	if (readlink(path, target, sizeof(target) - 1) < 0)
		return 0;
	number = strchr(target, '[');
	return number ? strtoul(number + 1, NULL, 10) : 0;
}

static void say_hello(struct forwarder *f)
{
	uint8_t *begin = output_next(&f->output), *at = put_header(begin, FB_HELLO);
	struct fb_hello hello = { .pid = getpid(), .pid_ns = inode_number("/proc/self/ns/pid"), .sources = FB_SOURCES };
	struct utsname system = {};

	hello.ring_bytes[0] = f->programs.ring_bytes[0];
	hello.ring_bytes[1] = f->programs.ring_bytes[1];
	uname(&system);
	at = put(at, &hello, sizeof(hello));
	at = put_text(at, FB_SENSOR_VERSION, strlen(FB_SENSOR_VERSION));
	at = put_text(at, system.release, strlen(system.release));
	for (__u32 id = 0; id < FB_SOURCES; id++) {
		const struct source_state *state = &f->programs.sources[id];
		struct fb_source source = { .id = id, .attached = state->attached, .error = state->error };

		at = put(at, &source, sizeof(source));
		at = put_text(at, state->why, strlen(state->why));
	}
	output_add(&f->output, at - begin);
}

static void tell_stats(struct forwarder *f)
{
	uint8_t *begin = output_next(&f->output), *at = put_header(begin, FB_STATS);
	int map = bpf_map__fd(f->programs.skeleton->maps.counts), cpus = libbpf_num_possible_cpus();
	struct fb_counts of_cpus[cpus];
	struct fb_stats stats = {};
	__u64 missed[FB_CLASSES];

	programs_missed(&f->programs, missed);
	for (__u32 class = 0; class < FB_CLASSES; class++) {
		struct fb_class_stats *told = &stats.classes[class];

		told->dropped = missed[class];
		told->forwarded = f->forwarded[class];
		if (!bpf_map_lookup_elem(map, &class, of_cpus))
			for (int cpu = 0; cpu < cpus; cpu++) {
				told->submitted += of_cpus[cpu].submitted;
				told->dropped += of_cpus[cpu].dropped;
			}
		told->submitted -= f->left_out[class];
	}
	at = put(at, &stats, sizeof(stats));
	output_add(&f->output, at - begin);
}

static void tell_configured(struct forwarder *f)
{
	/* May be longer than one record: then the last paths are left out, which their count tells. */
	uint8_t *begin = output_next(&f->output), *at = put_header(begin, FB_CONFIGURED), *counted = at;
	struct fb_configured told = {};

	at = put(at, &told, sizeof(told));
	for (size_t n = 0; n < f->watched.count; n++) {
		const struct watched_path *path = &f->watched.paths[n];
		__u32 error = path->error;

		if (at - begin + 12 + path->length > FB_RECORD_MAX)
			break;
		at = put(at, &error, sizeof(error));
		at = put_text(at, path->bytes, path->length);
		told.paths++;
	}
	put(counted, &told, sizeof(told));
	output_add(&f->output, at - begin);
}

static enum fb_class class_of(__u16 kind)
{
	if (kind >= FB_TCP_CONNECT && kind <= FB_DNS_RECEIVED)
		return FB_CLASS_NETWORK;
	if (kind >= FB_FILE_CREATE && kind <= FB_FILE_CAPABILITY)
		return FB_CLASS_FILE;
	return FB_CLASS_PROCESS;
}

/* A string of a record, moved to `to` with dots taken out of it. Returns the end of it there; NULL: the record is not as it should be. */
static uint8_t *tidy_string(uint8_t **from, const uint8_t *end, uint8_t *to, bool tidy)
{
	__u32 stored, total, length;

	if (end - *from < 8)
		return NULL;
	memcpy(&stored, *from, 4);
	memcpy(&total, *from + 4, 4);
	if (stored > (size_t)(end - *from - 8))
		return NULL;
	memmove(to + 8, *from + 8, stored);
	*from += 8 + stored;
	length = tidy ? spelled_normalise(to + 8, stored) : stored;
	total = total == FB_TOTAL_UNKNOWN ? total : total - stored + length;
	memcpy(to, &length, 4);
	memcpy(to + 4, &total, 4);
	return to + 8 + length;
}

static bool is_of_interest(struct forwarder *f, const uint8_t *text)
{
	__u32 length;

	memcpy(&length, text, 4);
	/* What cannot be judged is told: a path without its beginning, or through another process. */
	if (length == 0)
		return false;
	return text[8] != '/' || (length > 6 && !memcmp(text + 8, "/proc/", 6)) || watched_covers(&f->watched, text + 8, length);
}

/* Shortest time between two looks at the watched paths. */
#define REFRESH_MIN_NS 50000000ull

/* A watched path itself came, went or was replaced (as programs do that write a new file and rename it): look soon. */
static void note_replaced(struct forwarder *f, const uint8_t *text)
{
	__u64 soon = f->last_stats_ns + REFRESH_MIN_NS;
	__u32 length;

	memcpy(&length, text, 4);
	if (length > 0 && soon < f->next_stats_ns && watched_is_one(&f->watched, text + 8, length))
		f->next_stats_ns = soon;
}

/* The record at `record` as it is to go out; 0: not at all. */
static __u32 settle(struct forwarder *f, uint8_t *record, __u32 length)
{
	struct fb_header *header = (struct fb_header *)record;
	uint8_t *strings = record + sizeof(*header) + sizeof(struct fb_file), *from = strings, *other, *end;
	bool is_text;

	if (class_of(header->kind) != FB_CLASS_FILE || !(header->flags & FB_PATH_SPELLED))
		return length;
	is_text = header->kind == FB_FILE_SYMLINK;
	other = tidy_string(&from, record + length, strings, true);
	end = other ? tidy_string(&from, record + length, other, !is_text) : NULL;
	if (!end)
		return length;
	header->flags &= ~FB_PATH_CHECK;
	note_replaced(f, strings);
	if (!is_text)
		note_replaced(f, other);
	if (!(header->flags & FB_SETUID_BITS) && header->kind != FB_FILE_CAPABILITY && !is_of_interest(f, strings) &&
	    (is_text || !is_of_interest(f, other)))
		return 0;
	return end - record;
}

static void take_from(struct forwarder *f, struct ring *ring)
{
	__u32 length;

	while (output_has_room(&f->output) && (length = ring_next(ring)) > 0) {
		uint8_t *record = output_next(&f->output);
		struct fb_header *header = (struct fb_header *)record;
		enum fb_class class;

		ring_copy(ring, record, length);
		class = class_of(header->kind);
		length = settle(f, record, length);
		if (length > 0) {
			output_add(&f->output, length);
			f->forwarded[class]++;
		} else {
			f->left_out[class]++;
		}
	}
}

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

/* What is still needed: to attach again, to change maps, to look at watched paths. */
static void drop_privileges(void)
{
	const __u64 keep = 1ull << CAP_BPF | 1ull << CAP_PERFMON | 1ull << CAP_DAC_READ_SEARCH;
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {}, had[2] = {};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_capget, &header, had))
		return;
	for (int cap = 0; cap < 64; cap++)
		if (!(keep & 1ull << cap))
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	for (int word = 0; word < 2; word++) {
		data[word].permitted = had[word].permitted & (__u32)(keep >> (32 * word));
		data[word].effective = data[word].permitted;
	}
	if (syscall(SYS_capset, &header, data))
		fprintf(stderr, "firebreak-sensor: privileges could not be dropped: %s\n", strerror(errno));
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

/* Waits for something to do; true when stdin is it. */
static bool wait_for_work(struct forwarder *f, bool blocked)
{
	struct fb_settings *settings = &f->programs.skeleton->bss->settings;
	__u64 now = clock_ns(CLOCK_MONOTONIC), pause_ns = f->configuration.coalesce_us * 1000ull, until_stats;
	struct pollfd polled[] = {
		{ .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = blocked ? STDOUT_FILENO : -1, .events = POLLOUT },
		/* While the reader is slow the rings fill, and the kernel counts what does not fit. */
		{ .fd = blocked ? -1 : f->rings[RING_PROCESS].fd, .events = POLLIN },
		{ .fd = blocked ? -1 : f->rings[RING_BULK].fd, .events = POLLIN },
	};
	bool was_quiet = settings->quiet;
	int timeout = -1;

	if (!blocked && now - f->last_record_ns < pause_ns * PAUSES) {
		const struct timespec pause = { .tv_nsec = pause_ns };

		settings->quiet = 1;
		return ppoll(polled, 1, &pause, NULL) > 0;
	}
	__atomic_store_n(&settings->quiet, 0, __ATOMIC_SEQ_CST);
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

			take_from(f, &f->rings[RING_PROCESS]);
			take_from(f, &f->rings[RING_BULK]);
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
