#include "spelled.h"

#include <string.h>

size_t spelled_normalise(uint8_t *path, size_t length)
{
	size_t from = 0, to = 0;

	if (length == 0 || path[0] != '/')
		return length;
	while (from < length) {
		size_t begin, size;

		while (from < length && path[from] == '/')
			from++;
		begin = from;
		while (from < length && path[from] != '/')
			from++;
		size = from - begin;
		if (size == 0 || (size == 1 && path[begin] == '.'))
			continue;
		if (size == 2 && path[begin] == '.' && path[begin + 1] == '.') {
			while (to > 0 && path[to - 1] != '/')
				to--;
			if (to > 0)
				to--;
			continue;
		}
		path[to++] = '/';
		memmove(path + to, path + begin, size);
		to += size;
	}
	if (to == 0)
		path[to++] = '/';
	return to;
}

bool spelled_is_below(const uint8_t *path, size_t length, const uint8_t *watched, size_t watched_length)
{
	if (watched_length == 1)
		return length > 0 && path[0] == '/';
	return length >= watched_length && memcmp(path, watched, watched_length) == 0 &&
	       (length == watched_length || path[watched_length] == '/');
}
