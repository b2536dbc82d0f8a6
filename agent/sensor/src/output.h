/* Frames on their way to stdout: gathered, written whole, never more than one batch in memory. */
#ifndef FIREBREAK_OUTPUT_H
#define FIREBREAK_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "records.h"

#define BATCH_BYTES (64 * 1024)

struct output {
	uint8_t bytes[BATCH_BYTES + 4 + FB_RECORD_MAX];
	size_t filled;
	size_t written;
};

/* Room for one more record of any length? */
bool output_has_room(const struct output *output);

/* Where the next record of `length` goes; output_add takes it in with the length it really has. */
uint8_t *output_next(struct output *output);
void output_add(struct output *output, uint32_t length);

/* 0: all gone; EAGAIN: the reader is slow, ask again when it can be written; else the errno. */
int output_write(struct output *output, int fd);

#endif
