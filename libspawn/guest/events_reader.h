/*
 * Reading the event log of a host while others append to it, rename its files,
 * or remove them (guest/events.h says how it is written).
 *
 * A reader holds the files that it reads, so it goes on in one that has a new
 * name, and reads to its end one that is gone.  Lines come in the order of the
 * file; what makes no sense is skipped and counted.  Only who falls two files
 * behind, a mebibyte of events, misses some.
 */
#ifndef LIBSPAWN_GUEST_EVENTS_READER_H
#define LIBSPAWN_GUEST_EVENTS_READER_H

#include <sys/types.h>

#include "base/str.h"
#include "guest/hypervisor.h"

struct libspawn__events_file {
    int fd;
    dev_t dev;
    ino_t ino;
    bool is_gone;     /* no name leads to it: dropped at its end */
    bool is_overlong; /* what comes up to the next newline is skipped */
    struct libspawn__buf buf;
    size_t n_taken; /* bytes of 'buf' that were handed out */
};

struct libspawn__events_reader {
    /* For poll(2): readable when there may be more.  -1: the host has no
     * inotify instance left. */
    int fd;
    bool is_blind;      /* 'fd' does not tell everything: look now and then */
    uint64_t n_skipped; /* lines that made no sense */

    /* Private. */
    char *dir;
    char *path;
    char *old_path;
    int wd; /* what the kernel watches: 'dir', or what there is above it */
    struct libspawn__events_file files[4]; /* the oldest first */
    size_t n_files;
    struct libspawn__json *json; /* of the line that was handed out */
};

/* Begins with the oldest line that is kept, or behind the newest.  That the
 * directory or the files are missing is no error: they may come. */
int libspawn__events_reader_open(struct libspawn__events_reader *reader,
                                 const char *state_dir, bool from_start,
                                 struct libspawn_err *err);
void libspawn__events_reader_dispose(struct libspawn__events_reader *reader);
#define AUTO_EVENTS_READER AUTO(libspawn__events_reader_dispose)

/* The next line, whose strings are valid until the next call; false when there
 * is none now. */
bool libspawn__events_reader_next(struct libspawn__events_reader *reader,
                                  struct libspawn_guest_event *event_r);

/* Whether this was told of this guest (uuid and domid) since it was created,
 * started again or admitted, as far back as lines are kept. */
struct libspawn__event;
bool libspawn__events_have(const char *state_dir,
                           const struct libspawn__event *event);

#endif
