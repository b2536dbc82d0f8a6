#include "tell.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "sensor.skel.h"

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

void say_hello(struct forwarder *f)
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

void tell_stats(struct forwarder *f)
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

void tell_configured(struct forwarder *f)
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
