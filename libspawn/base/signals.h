/*
 * Signals that ask a program to end, as something that a loop can wait for.
 * For programs, not for the library's users: it blocks them in the caller.
 */
#ifndef LIBSPAWN_BASE_SIGNALS_H
#define LIBSPAWN_BASE_SIGNALS_H

/* Blocks SIGINT, SIGTERM and SIGHUP.  Returns a descriptor, non-blocking, that
 * is readable when one has come, or -1 and errno. */
int libspawn__signals_open(void);

/* The number of one that has come, or 0. */
int libspawn__signals_read(int fd);

#endif
