/*
 * What a child says of its start in the words of sd_notify(3): one letter is
 * lines of NAME=value.  Known are
 *
 *     READY=1                  it is ready
 *     EXTEND_TIMEOUT_USEC=N    it needs N microseconds more, from now on
 *     STATUS=text              what it is doing
 *
 * Any other name is ignored, and so is a value that makes no sense; of several
 * lines with the same name the last one counts.
 */
#ifndef LIBSPAWN_PROC_NOTIFY_H
#define LIBSPAWN_PROC_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LIBSPAWN__NOTIFY_SIZE_MAX = 4096,  /* of a letter */
    LIBSPAWN__NOTIFY_STATUS_SIZE = 256 /* with the NUL; the rest is dropped */
};

struct libspawn__notify {
    bool is_ready;
    bool has_extension;
    bool has_status;
    uint32_t extend_ms; /* rounded up; UINT32_MAX: that or more */
    char status[LIBSPAWN__NOTIFY_STATUS_SIZE]; /* printable, on one line */
};

/* Reads a letter of any bytes. */
void libspawn__notify_parse(const char *bytes, size_t size,
                            struct libspawn__notify *notify_r);

#endif
