/* What the forwarder keeps: the programs, their rings, what it writes, what it was told. */
#ifndef FIREBREAK_FORWARDER_H
#define FIREBREAK_FORWARDER_H

#include <stdbool.h>
#include <time.h>

#include "configure.h"
#include "output.h"
#include "programs.h"
#include "ring.h"
#include "watched.h"

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
	__u64 pause_ns; /* between two looks at the rings while records come */
	bool processes_flood; /* their records wait for the end of a pause as well */
};

static inline __u64 clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

#endif
