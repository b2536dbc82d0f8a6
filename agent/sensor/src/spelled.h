/* Paths that a program spelled: `.`, `..` and doubled slashes taken out as text. */
#ifndef FIREBREAK_SPELLED_H
#define FIREBREAK_SPELLED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In place; returns the new length. Only of absolute paths; ".." at the top stays at the top. */
size_t spelled_normalise(uint8_t *path, size_t length);

/* Is `path` the watched one or below it? */
bool spelled_is_below(const uint8_t *path, size_t length, const uint8_t *watched, size_t watched_length);

#endif
