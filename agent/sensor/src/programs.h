/* Loading and attaching, each source by itself. */
#ifndef FIREBREAK_PROGRAMS_H
#define FIREBREAK_PROGRAMS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include "records.h"
#include "shared_state.h"

struct sensor;

struct source_state {
	bool attached;
	int error; /* errno */
	char why[200];
};

struct programs {
	struct sensor *skeleton; /* NULL: nothing could be loaded */
	struct source_state sources[FB_SOURCES];
	size_t ring_bytes[2];
};

/* Never fails as a whole without telling why in each source. Returns 0 when at least one source is attached, else the errno. */
int programs_start(struct programs *programs, size_t ring_process_bytes, size_t ring_bulk_bytes);

/* Which system calls lead to a program; the two looks that every system call pays for are attached only while something needs them. */
void programs_apply(struct programs *programs, __u32 switches, bool watching);

/* Since the start: what was dropped because a program was already running on that CPU, per class. */
void programs_missed(struct programs *programs, __u64 missed[FB_CLASSES]);

#endif
