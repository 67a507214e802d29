/*
 * Looking at the files that a configuration names: a step of a creation, and
 * the first one that could hang, since a file may be on a disk that is dead.
 * Where the host has a worker for that (struct libspawn_host) the worker looks
 * and the step is pending; else this process looks, and is kept waiting.
 *
 *     add, add, ... -> run -> judged one after the other -> take, ...
 *
 * Files are looked at in the order in which they were added, and the first
 * that will not do ends the creation.  What was opened and not taken is closed
 * with the creation.
 */
#ifndef LIBSPAWN_GUEST_EXAMINE_H
#define LIBSPAWN_GUEST_EXAMINE_H

#include "guest/create.h"
#include "proc/worker_protocol.h"

struct libspawn__examined {
    const char *what; /* for sentences: "disk" */
    const char *path; /* borrowed from the configuration, or constant */
    uint32_t flags;   /* LIBSPAWN__WORKER_IMAGE_... */
    const void *about; /* for who judges */
    bool is_kept;      /* its descriptor is going to be taken */

    /* Private until it is judged. */
    struct libspawn__worker_image image;
    int fd; /* -1: none */
};

/* Whether it will do: 0, or the error that ends the creation. */
typedef int libspawn__examine_fn(const struct libspawn_create *create,
                                 const struct libspawn__examined *file,
                                 struct libspawn_err *err);

int libspawn__examine_add(struct libspawn_create *create,
                          const struct libspawn__examined *file,
                          struct libspawn_err *err);

/* Returns as a step does.  LIBSPAWN_ERR_TIMEOUT names the file that did not
 * answer within the time that a device model has for its start. */
int libspawn__examine_run(struct libspawn_create *create,
                          libspawn__examine_fn *judge,
                          struct libspawn_err *err);

/* The descriptor of a file that is kept, now the caller's. */
int libspawn__examine_take(struct libspawn_create *create, const char *path,
                           uint32_t flags, int *fd_r,
                           struct libspawn_err *err);

/* Forgets all of it. */
void libspawn__examine_dispose(struct libspawn_create *create);

#endif
