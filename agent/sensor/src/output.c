#include "output.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

bool output_has_room(const struct output *output)
{
	return output->filled < BATCH_BYTES;
}

uint8_t *output_next(struct output *output)
{
	return output->bytes + output->filled + 4;
}

void output_add(struct output *output, uint32_t length)
{
	memcpy(output->bytes + output->filled, &length, 4);
	output->filled += 4 + length;
}

int output_write(struct output *output, int fd)
{
	while (output->written < output->filled) {
		ssize_t done = write(fd, output->bytes + output->written, output->filled - output->written);

		if (done >= 0)
			output->written += done;
		else if (errno != EINTR)
			return errno;
	}
	output->filled = 0;
	output->written = 0;
	return 0;
}
