/*
 * Messages of a line each, out of a stream: finds the lines, and keeps what
 * has come of the next one.  The buffer is gone while it is empty.
 */
#ifndef LIBSPAWN_WIRE_LINES_H
#define LIBSPAWN_WIRE_LINES_H

#include "base/str.h"

enum {
    LIBSPAWN__LINE_MAX = 1024 * 1024
}; /* bytes, without the newline */

/* All zero but for 'peer' at the beginning. */
struct libspawn__lines {
    const char *peer; /* who speaks, for sentences; of static duration */
    struct libspawn__buf input;
    size_t start;    /* where the next line begins */
    size_t searched; /* no newline between there and here */
};

void libspawn__lines_dispose(struct libspawn__lines *lines);

/* Reads once from a non-blocking socket; that there is nothing to read is
 * fine.  At the end of file LIBSPAWN_ERR_GONE without an errno. */
int libspawn__lines_receive(struct libspawn__lines *lines, int fd,
                            struct libspawn_err *err);

/* The next whole line without its newline, valid until the next call;
 * '*line_r' is NULL when there is none.  LIBSPAWN_ERR_PROTOCOL: it is longer
 * than LIBSPAWN__LINE_MAX, or will be. */
int libspawn__lines_next(struct libspawn__lines *lines, const char **line_r,
                         size_t *size_r, struct libspawn_err *err);

#endif
