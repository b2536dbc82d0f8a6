/* The programs in the kernel, one object. What they tell is in records.h, how it is used in ../README.md. */
#include "process.h"
#include "sockets.h"
#include "calls.h"

char sensor_license[] SEC("license") = "GPL";
