/*
 * The user's terminal, connected to a guest's console.
 */
#ifndef XL_TERMINAL_H
#define XL_TERMINAL_H

#include "include/libspawn.h"

enum { XL__TERMINAL_ESCAPE = 0x1d }; /* Ctrl-], as in the stock console */

/* Copies in both directions between the standard input and output and
 * 'console_fd' until the console ends or the user types the escape; the end
 * of a standard input that is no terminal leaves the console attached.  The
 * terminal is in raw mode meanwhile. */
int xl__terminal_attach(int console_fd, struct libspawn_err *err);

#endif
