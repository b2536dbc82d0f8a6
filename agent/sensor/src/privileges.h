#ifndef FIREBREAK_PRIVILEGES_H
#define FIREBREAK_PRIVILEGES_H

/* Keeps what is still needed: to attach again, to change maps, to look at watched paths. */
void drop_privileges(void);

#endif
