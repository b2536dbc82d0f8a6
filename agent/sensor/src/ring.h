/* A ring buffer of the kernel, mapped once: libbpf maps the data twice, which counts twice as resident memory. */
#ifndef FIREBREAK_RING_H
#define FIREBREAK_RING_H

#include <stddef.h>
#include <stdint.h>

struct ring {
	int fd;
	size_t bytes;
	size_t page;
	unsigned long *consumer; /* written by us */
	const unsigned long *producer;
	const uint8_t *data;
};

/* 0, or -errno. */
int ring_open(struct ring *ring, int map_fd, size_t bytes);

/* The length of the next record, 0 when there is none. `ring_copy` takes it out of the ring. */
uint32_t ring_next(struct ring *ring);
void ring_copy(struct ring *ring, uint8_t *to, uint32_t length);

#endif
