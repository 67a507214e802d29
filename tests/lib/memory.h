/*
 * Memory that runs out when a test wants it to.  A program that links
 * memory.c is linked with -Wl,--wrap for the functions in it, so that calls
 * of the library, but not those of libc itself, come here.
 */
#ifndef TESTS_LIB_MEMORY_H
#define TESTS_LIB_MEMORY_H

#include <stdbool.h>

/* The n-th allocation from now fails, and with 'for_good' all later ones. */
void memory_fail_at(long n, bool for_good);

/* No allocation fails any more; whether one did. */
bool memory_stop_failing(void);

#endif
