#define _GNU_SOURCE
#include "watched.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sensor.skel.h"
#include "spelled.h"

/* "/etc" below and itself: "/etc/" and "/etc" with its terminator. */
static void add_prefixes(struct programs *programs, const char *path, size_t length)
{
	int map = bpf_map__fd(programs->skeleton->maps.watched_prefixes);
	struct lpm_key key = {};
	__u32 yes = 1;

	if (length + 1 > LPM_PATH_BYTES)
		return; /* longer ones are always given to the forwarding process */
	memcpy(key.path, path, length);
	if (length == 1) {
		key.bits = 8;
		bpf_map_update_elem(map, &key, &yes, BPF_ANY);
		return;
	}
	key.path[length] = '/';
	key.bits = (length + 1) * 8;
	bpf_map_update_elem(map, &key, &yes, BPF_ANY);
	key.path[length] = 0;
	bpf_map_update_elem(map, &key, &yes, BPF_ANY);
}

static void clear_prefixes(struct programs *programs)
{
	int map = bpf_map__fd(programs->skeleton->maps.watched_prefixes);
	struct lpm_key key;

	while (!bpf_map_get_next_key(map, NULL, &key))
		if (bpf_map_delete_elem(map, &key))
			break;
}

static void clear_inodes(struct programs *programs)
{
	int map = bpf_map__fd(programs->skeleton->maps.watched_inodes);
	__u64 key;

	while (!bpf_map_get_next_key(map, NULL, &key))
		if (bpf_map_delete_elem(map, &key))
			break;
}

/* `adding` makes the kernel's programs take the address of what is opened here. */
static void open_path(struct watched_path *path, struct programs *programs)
{
	struct fb_settings *settings = &programs->skeleton->bss->settings;

	__atomic_store_n(&settings->adding, 1, __ATOMIC_SEQ_CST);
	path->fd = openat(AT_FDCWD, (const char *)path->bytes, O_PATH | O_CLOEXEC);
	path->error = path->fd < 0 ? errno : 0;
	__atomic_store_n(&settings->adding, 0, __ATOMIC_SEQ_CST);
	free(path->resolved);
	path->resolved = path->fd < 0 ? NULL : realpath((const char *)path->bytes, NULL);
	if (path->resolved && strlen(path->resolved) == path->length && !memcmp(path->resolved, path->bytes, path->length)) {
		free(path->resolved);
		path->resolved = NULL;
	}
}

static void publish(struct watched *watched, struct programs *programs)
{
	clear_prefixes(programs);
	for (size_t n = 0; n < watched->count; n++) {
		struct watched_path *path = &watched->paths[n];

		add_prefixes(programs, (const char *)path->bytes, path->length);
		if (path->resolved)
			add_prefixes(programs, path->resolved, strlen(path->resolved));
	}
}

void watched_replace(struct watched *watched, struct programs *programs, struct watched_path *paths, size_t count)
{
	for (size_t n = 0; n < watched->count; n++) {
		if (watched->paths[n].fd >= 0)
			close(watched->paths[n].fd);
		free(watched->paths[n].resolved);
		free(watched->paths[n].bytes);
	}
	clear_inodes(programs);
	memcpy(watched->paths, paths, sizeof(*paths) * count);
	watched->count = count;
	for (size_t n = 0; n < count; n++)
		open_path(&watched->paths[n], programs);
	publish(watched, programs);
}

void watched_refresh(struct watched *watched, struct programs *programs)
{
	bool changed = false;

	for (size_t n = 0; n < watched->count; n++) {
		struct watched_path *path = &watched->paths[n];
		struct stat held, there;
		bool is_there = stat((const char *)path->bytes, &there) == 0;
		bool is_held = path->fd >= 0 && fstat(path->fd, &held) == 0;

		if (is_there == is_held && (!is_there || (held.st_dev == there.st_dev && held.st_ino == there.st_ino)))
			continue;
		changed = true;
	}
	if (!changed)
		return;
	/* All again: which address belongs to which path is known to the kernel only. Closed last, so that none can be given anew. */
	int old[FB_PATHS_MAX];

	for (size_t n = 0; n < watched->count; n++)
		old[n] = watched->paths[n].fd;
	clear_inodes(programs);
	for (size_t n = 0; n < watched->count; n++)
		open_path(&watched->paths[n], programs);
	for (size_t n = 0; n < watched->count; n++)
		if (old[n] >= 0)
			close(old[n]);
	publish(watched, programs);
}

bool watched_is_one(const struct watched *watched, const uint8_t *path, size_t length)
{
	for (size_t n = 0; n < watched->count; n++)
		if (watched->paths[n].length == length && memcmp(watched->paths[n].bytes, path, length) == 0)
			return true;
	return false;
}

bool watched_covers(const struct watched *watched, const uint8_t *path, size_t length)
{
	for (size_t n = 0; n < watched->count; n++) {
		const struct watched_path *one = &watched->paths[n];

		if (spelled_is_below(path, length, one->bytes, one->length) ||
		    (one->resolved &&
		     spelled_is_below(path, length, (const uint8_t *)one->resolved, strlen(one->resolved))))
			return true;
	}
	return false;
}
