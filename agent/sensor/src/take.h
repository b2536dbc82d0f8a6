/* Records of the kernel on their way out: spelled paths are tidied, and what turns out not to be watched is left out. */
#ifndef FIREBREAK_TAKE_H
#define FIREBREAK_TAKE_H

#include "forwarder.h"

/* While there are any and the output has room. Returns how many it were. */
__u32 take_from(struct forwarder *f, struct ring *ring);

#endif
