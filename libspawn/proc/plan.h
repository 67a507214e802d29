/*
 * The plan of a start, inside: what the setters of libspawn.h fill, and its
 * packed form, in which it travels to spawn-watcher in a sealed memfd.
 *
 * The packed form is specified in docs/PROTOCOLS.md.  The reader trusts
 * nothing: bounds, unknown fields, repeated strings and strings with a NUL in
 * them are LIBSPAWN_ERR_PROTOCOL.
 */
#ifndef LIBSPAWN_PROC_PLAN_H
#define LIBSPAWN_PROC_PLAN_H

#include "base/str.h"

enum {
    LIBSPAWN__PLAN_FDS_MAX = 200,
    LIBSPAWN__PLAN_CHILD_FD_MAX = 1000,
    LIBSPAWN__PLAN_SIZE_MAX = 16 * 1024 * 1024
};

struct libspawn__plan_fd {
    int fd;       /* the caller's; in the watcher the one that arrived */
    int child_fd; /* what the child shall see */
};

struct libspawn_plan {
    char *label;
    char *guest;
    char *program;
    char *directory;
    struct libspawn__strv argv;
    struct libspawn__strv env;

    struct libspawn__plan_fd fds[LIBSPAWN__PLAN_FDS_MAX];
    size_t n_fds;

    char *log_path;
    uint64_t log_max_size;
    uint64_t n_old_logs;

    char *store_address; /* NULL: no record is kept */
    char *record_path;
    struct libspawn__strv pid_nodes;
    struct libspawn__strv end_files; /* removed when the child has ended */

    uint64_t ready; /* set of enum libspawn_ready */
    char *ready_path;
    char *ready_value;
    uint64_t notify_fd; /* the child's number */

    uint64_t start_ms; /* 0: for ever */
    uint64_t stop_ms;

    bool no_memory; /* a setter failed */
    bool bad_fd;    /* more descriptors than fit, or a bad number */
};

void libspawn__plan_init(struct libspawn_plan *plan);
void libspawn__plan_dispose(struct libspawn_plan *plan);
#define AUTO_PLAN AUTO(libspawn__plan_dispose)

/* Whether it can be started; LIBSPAWN_ERR_INVALID says what is missing. */
int libspawn__plan_check(const struct libspawn_plan *plan,
                         struct libspawn_err *err);

/* A sealed memfd with everything but the descriptors themselves. */
int libspawn__plan_pack(const struct libspawn_plan *plan, int *memfd_r,
                        struct libspawn_err *err);

/* Fills an initialised plan from such a memfd; its descriptors are -1. */
int libspawn__plan_unpack(int memfd, struct libspawn_plan *plan,
                          struct libspawn_err *err);

/* The same from memory, for whoever has the bytes already. */
int libspawn__plan_unpack_bytes(const void *bytes, size_t size,
                                struct libspawn_plan *plan,
                                struct libspawn_err *err);

#endif
