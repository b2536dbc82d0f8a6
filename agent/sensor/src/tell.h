/* Records that are not of the kernel but of the sensor itself. Each goes to the output, which must have room. */
#ifndef FIREBREAK_TELL_H
#define FIREBREAK_TELL_H

#include "forwarder.h"

void say_hello(struct forwarder *f);
void tell_stats(struct forwarder *f);
void tell_configured(struct forwarder *f);

#endif
