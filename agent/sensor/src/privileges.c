#include "privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/types.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#endif
#ifndef CAP_BPF
#define CAP_BPF 39
#endif

void drop_privileges(void)
{
	const __u64 keep = 1ull << CAP_BPF | 1ull << CAP_PERFMON | 1ull << CAP_DAC_READ_SEARCH;
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {}, had[2] = {};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_capget, &header, had))
		return;
	for (int cap = 0; cap < 64; cap++)
		if (!(keep & 1ull << cap))
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	for (int word = 0; word < 2; word++) {
		data[word].permitted = had[word].permitted & (__u32)(keep >> (32 * word));
		data[word].effective = data[word].permitted;
	}
	if (syscall(SYS_capset, &header, data))
		fprintf(stderr, "firebreak-sensor: privileges could not be dropped: %s\n", strerror(errno));
}
