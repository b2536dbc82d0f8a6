#include "take.h"

#include <stdbool.h>
#include <string.h>

#include "spelled.h"

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

__u32 take_from(struct forwarder *f, struct ring *ring)
{
	__u32 length, records = 0;

	while (output_has_room(&f->output) && (length = ring_next(ring)) > 0) {
		uint8_t *record = output_next(&f->output);
		struct fb_header *header = (struct fb_header *)record;
		enum fb_class class;

		ring_copy(ring, record, length);
		records++;
		class = class_of(header->kind);
		length = settle(f, record, length);
		if (length > 0) {
			output_add(&f->output, length);
			f->forwarded[class]++;
		} else {
			f->left_out[class]++;
		}
	}
	return records;
}
