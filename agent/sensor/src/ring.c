#include "ring.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int ring_open(struct ring *ring, int map_fd, size_t bytes)
{
	size_t page = sysconf(_SC_PAGESIZE);
	void *mapped = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);

	if (mapped == MAP_FAILED)
		return -errno;
	ring->consumer = mapped;
	mapped = mmap(NULL, page + bytes, PROT_READ, MAP_SHARED, map_fd, page);
	if (mapped == MAP_FAILED)
		return -errno;
	ring->producer = mapped;
	ring->data = (const uint8_t *)mapped + page;
	ring->fd = map_fd;
	ring->bytes = bytes;
	ring->page = page;
	return 0;
}

/* Each record has a header of 8 bytes (its length and two bits) and begins at a multiple of 8. Source: kernel/bpf/ringbuf.c. */
static const uint32_t *header_at(const struct ring *ring, unsigned long position)
{
	return (const uint32_t *)(ring->data + (position & (ring->bytes - 1)));
}

static unsigned long taken_up(uint32_t length)
{
	return (length + BPF_RINGBUF_HDR_SZ + 7) & ~7ul;
}

uint32_t ring_next(struct ring *ring)
{
	unsigned long at = *ring->consumer;

	for (;;) {
		uint32_t header;

		if (at == __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE))
			return 0;
		header = __atomic_load_n(header_at(ring, at), __ATOMIC_ACQUIRE);
		if (header & BPF_RINGBUF_BUSY_BIT)
			return 0;
		if (!(header & BPF_RINGBUF_DISCARD_BIT))
			return header;
		at += taken_up(header & ~BPF_RINGBUF_DISCARD_BIT);
		__atomic_store_n(ring->consumer, at, __ATOMIC_RELEASE);
	}
}

void ring_copy(struct ring *ring, uint8_t *to, uint32_t length)
{
	unsigned long at = *ring->consumer;
	size_t from = (at + BPF_RINGBUF_HDR_SZ) & (ring->bytes - 1);
	size_t first = ring->bytes - from < length ? ring->bytes - from : length;

	memcpy(to, ring->data + from, first);
	memcpy(to + first, ring->data, length - first);
	__atomic_store_n(ring->consumer, at + taken_up(length), __ATOMIC_RELEASE);
}
