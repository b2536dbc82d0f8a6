#include "configure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint32_t number_at(const uint8_t *bytes)
{
	uint32_t number;

	memcpy(&number, bytes, 4);
	return number;
}

static const char *check_numbers(const struct fb_configure *configuration)
{
	if (configuration->version != FB_PROTOCOL_VERSION)
		return "another protocol version";
	if (configuration->switches & ~FB_SWITCH_ALL)
		return "an unknown switch";
	if (configuration->coalesce_us > 100000)
		return "coalesce_us is above 100000";
	if (configuration->stats_interval_ms < 100 || configuration->stats_interval_ms > 600000)
		return "stats_interval_ms is not within 100..600000";
	if (configuration->paths > FB_PATHS_MAX)
		return "too many paths";
	return NULL;
}

static const char *parse(const uint8_t *bytes, uint32_t length, struct fb_configure *configuration, struct watched_path *paths)
{
	const uint8_t *end = bytes + length;
	const char *wrong;
	uint32_t count = 0;

	if (length < sizeof(*configuration))
		return "shorter than a configuration";
	memcpy(configuration, bytes, sizeof(*configuration));
	bytes += sizeof(*configuration);
	wrong = check_numbers(configuration);
	for (; !wrong && count < configuration->paths; count++) {
		uint32_t size = end - bytes >= 4 ? number_at(bytes) : 0;

		if (size == 0 || size > FB_PATH_MAX || size > (size_t)(end - bytes - 4) || bytes[4] != '/' || memchr(bytes + 4, 0, size)) {
			wrong = "a path is not absolute, empty, too long or cut off";
			break;
		}
		paths[count] = (struct watched_path){ .bytes = malloc(size + 1), .length = size, .fd = -1 };
		if (!paths[count].bytes)
			abort();
		memcpy(paths[count].bytes, bytes + 4, size);
		/* "/etc/" and "/etc" are one folder. */
		while (paths[count].length > 1 && paths[count].bytes[paths[count].length - 1] == '/')
			paths[count].length--;
		paths[count].bytes[paths[count].length] = 0;
		bytes += 4 + size;
	}
	if (!wrong && bytes != end)
		wrong = "more bytes than its paths need";
	if (wrong)
		while (count > 0)
			free(paths[--count].bytes);
	return wrong;
}

enum input_state input_read(struct input *input, int fd, struct fb_configure *configuration, struct watched_path *paths, const char **why)
{
	for (;;) {
		uint32_t length = input->filled >= 4 ? number_at(input->bytes) : 0;
		ssize_t done;

		if (input->filled >= 4 && (length == 0 || length > FB_CONFIGURE_MAX)) {
			*why = "a frame without bytes or above the limit";
			return INPUT_WRONG;
		}
		if (input->filled >= 4 && input->filled - 4 >= length) {
			*why = parse(input->bytes + 4, length, configuration, paths);
			input->filled -= 4 + length;
			memmove(input->bytes, input->bytes + 4 + length, input->filled);
			return *why ? INPUT_WRONG : INPUT_CONFIGURED;
		}
		done = read(fd, input->bytes + input->filled, sizeof(input->bytes) - input->filled);
		if (done == 0)
			return INPUT_ENDED;
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return errno == EAGAIN ? INPUT_WAITING : INPUT_ENDED;
		input->filled += done;
	}
}
