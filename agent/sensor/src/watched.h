/* The watched paths: held open, so that the kernel's programs can know them by the address of their inode. */
#ifndef FIREBREAK_WATCHED_H
#define FIREBREAK_WATCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "programs.h"

struct watched_path {
	uint8_t *bytes; /* with a NUL behind */
	size_t length;
	char *resolved; /* without symbolic links; NULL: the same, or not there */
	int fd; /* -1: not there */
	int error;
};

struct watched {
	struct watched_path paths[FB_PATHS_MAX];
	size_t count;
};

/* Takes over `paths`; what was watched before is forgotten. */
void watched_replace(struct watched *watched, struct programs *programs, struct watched_path *paths, size_t count);

/* Looks whether the paths still lead to what is held open: a folder may have come, gone or been replaced. */
void watched_refresh(struct watched *watched, struct programs *programs);

/* Is it one of the watched paths themselves? */
bool watched_is_one(const struct watched *watched, const uint8_t *path, size_t length);

bool watched_covers(const struct watched *watched, const uint8_t *path, size_t length);

#endif
