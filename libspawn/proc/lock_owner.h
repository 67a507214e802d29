/*
 * The line that the holder of a lock writes into its file, for people: it
 * names the holder in messages and decides nothing.  Rubbish, an old line, or
 * none is as good as a true one: then the owner is unknown.
 */
#ifndef LIBSPAWN_PROC_LOCK_OWNER_H
#define LIBSPAWN_PROC_LOCK_OWNER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { LIBSPAWN__LOCK_PROGRAM_SIZE = 64 };

struct libspawn__lock_owner {
    pid_t pid;                                 /* 0: unknown */
    char program[LIBSPAWN__LOCK_PROGRAM_SIZE]; /* "": unknown */
    int64_t since_s;                           /* 1970 on; 0: unknown */
};

/* This process, as program_invocation_short_name calls it.  Failures are of
 * no consequence. */
void libspawn__lock_owner_write(int fd);
void libspawn__lock_owner_erase(int fd);

/* Who has a lock that is in the way of 'fd'.  The kernel names the owner of a
 * classic lock; of another one the line tells it, if the process that it names
 * lives. */
void libspawn__lock_owner_read(int fd, struct libspawn__lock_owner *owner_r);

/* "held by ...". */
void libspawn__lock_owner_describe(const struct libspawn__lock_owner *owner,
                                   char *text, size_t size);

#endif
