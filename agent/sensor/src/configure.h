/* Configuration from stdin: frames, checked before anything of them is used. */
#ifndef FIREBREAK_CONFIGURE_H
#define FIREBREAK_CONFIGURE_H

#include <stdbool.h>
#include <linux/types.h>
#include "records.h"
#include "watched.h"

struct input {
	uint8_t bytes[4 + FB_CONFIGURE_MAX];
	size_t filled;
};

enum input_state { INPUT_WAITING, INPUT_CONFIGURED, INPUT_ENDED, INPUT_WRONG };

/* Reads what is there. INPUT_CONFIGURED: `configuration` and `paths` hold one; call again, more may wait. `why`: what was wrong. */
enum input_state input_read(struct input *input, int fd, struct fb_configure *configuration, struct watched_path *paths, const char **why);

#endif
