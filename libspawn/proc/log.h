/*
 * The log of a child: a file bounded in size with a few older generations,
 * and the last lines in memory for the report.
 *
 * PATH is the present file, PATH.1 the one before, and so on.  A start begins
 * a new generation.  A log that cannot be written (disk full, directory gone)
 * loses lines but never stalls or ends the child; how much was lost, and why,
 * is the first that it says when it can be written again.
 *
 * What arrives is untrusted: the tail passes on printable text only.
 */
#ifndef LIBSPAWN_PROC_LOG_H
#define LIBSPAWN_PROC_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "proc/protocol.h"

struct libspawn__log {
    char *path; /* NULL: no file, only the tail */
    uint64_t max_size;
    unsigned int n_old;
    int fd;
    uint64_t size; /* of the present file */
    uint64_t lost; /* bytes that could not be written, and are not told yet */
    int lost_errno;
    bool is_stamped;  /* the owner's: each line in the file begins with the
                         time; not in the tail */
    bool is_mid_line; /* what was written last did not end a line */

    char *ring; /* the last bytes, RING_SIZE of them */
    size_t ring_end;
    bool ring_is_full;
};

/* The part of it that another program needs to go on with the same file. */
struct libspawn__log_state {
    uint64_t size;
    uint64_t lost;
    uint64_t ring_end;
    int32_t lost_errno;
    uint32_t ring_is_full;
    uint32_t is_mid_line;
    char ring[LIBSPAWN__TAIL_SIZE];
};

void libspawn__log_save(const struct libspawn__log *log,
                        struct libspawn__log_state *state_r);

/* Goes on with 'fd' (-1: none), which is the log's from now on; the state is
 * one that was saved. */
int libspawn__log_resume(struct libspawn__log *log, const char *path,
                         uint64_t max_size, unsigned int n_old, int fd,
                         const struct libspawn__log_state *state,
                         struct libspawn_err *err);

/* Starts a new generation.  'path' may be NULL. */
int libspawn__log_open(struct libspawn__log *log, const char *path,
                       uint64_t max_size, unsigned int n_old,
                       struct libspawn_err *err);
void libspawn__log_close(struct libspawn__log *log);

void libspawn__log_write(struct libspawn__log *log, const char *bytes,
                         size_t size);

/* The same for lines that are not the child's own: they are not among its last
 * ones, and begin a line. */
void libspawn__log_note(struct libspawn__log *log, const char *bytes,
                        size_t size);

/* Copies the last lines, at most LIBSPAWN__TAIL_LINES of them and as many as
 * fit, each ending with a newline; returns the size without the NUL. */
size_t libspawn__log_copy_tail(const struct libspawn__log *log, char *buffer,
                               size_t size);

#endif
