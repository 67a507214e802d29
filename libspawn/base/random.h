/*
 * Numbers that nobody can guess.  Not arc4random(3), which ends the process
 * where the system call is refused.
 */
#ifndef LIBSPAWN_BASE_RANDOM_H
#define LIBSPAWN_BASE_RANDOM_H

#include <stddef.h>

#include "base/err.h"

/* Fills 'bytes', from /dev/urandom where getrandom(2) is refused. */
int libspawn__random_fill(void *bytes, size_t size, struct libspawn_err *err);

#endif
