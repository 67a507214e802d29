/*
 * The plan of a start, inside: what the setters of libspawn.h fill, and its
 * packed form, in which it travels to spawn-watcher in a sealed memfd.
 *
 *   plan.c        life, and the packed form: all that the watcher needs
 *   plan_set.c    the setters
 *   plan_user.c   users and groups by name
 *   plan_check.c  whether it can be started
 *
 * The watcher never looks anything up: what has a name for people arrives
 * there as a number.
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
    LIBSPAWN__PLAN_GROUPS_MAX = 65536, /* what the kernel takes */
    LIBSPAWN__PLAN_RESOURCES = 16,     /* RLIMIT_... of the kernel */
    LIBSPAWN__PLAN_LOG_MAX_SIZE = 1024 * 1024, /* defaults */
    LIBSPAWN__PLAN_OLD_LOGS = 4,
    LIBSPAWN__PLAN_SIZE_MAX = 16 * 1024 * 1024
};

/* What was asked for; a step of the child runs when its option is there. */
enum libspawn__plan_option {
    LIBSPAWN__PLAN_USER = 1 << 0,
    LIBSPAWN__PLAN_GROUP = 1 << 1,
    LIBSPAWN__PLAN_GROUPS = 1 << 2, /* also when there are none */
    LIBSPAWN__PLAN_CAPABILITIES = 1 << 3,
    LIBSPAWN__PLAN_SECUREBITS = 1 << 4,
    LIBSPAWN__PLAN_NO_NEW_PRIVS = 1 << 5,
    LIBSPAWN__PLAN_CHROOT = 1 << 6,
    LIBSPAWN__PLAN_LANDLOCK = 1 << 7,
    LIBSPAWN__PLAN_LANDLOCK_BEST_EFFORT = 1 << 8, /* besides LANDLOCK */
    LIBSPAWN__PLAN_NAMESPACES = 1 << 9,
    LIBSPAWN__PLAN_CGROUP = 1 << 10,
    LIBSPAWN__PLAN_LIMITS = 1 << 11,
    LIBSPAWN__PLAN_UMASK = 1 << 12,
    LIBSPAWN__PLAN_NICE = 1 << 13,
    LIBSPAWN__PLAN_OOM_SCORE_ADJ = 1 << 14,
    LIBSPAWN__PLAN_SCHEDULER = 1 << 15,
    LIBSPAWN__PLAN_IO_PRIORITY = 1 << 16,
    LIBSPAWN__PLAN_LOG_STAMPS = 1 << 17, /* of the log, not of the child */
    LIBSPAWN__PLAN_ALL_OPTIONS = (1 << 18) - 1
};

struct libspawn__plan_fd {
    int fd;       /* the caller's; in the watcher the one that arrived */
    int child_fd; /* what the child shall see */
};

struct libspawn__plan_groups {
    gid_t *items;
    size_t n_items;
    size_t n_allocated;
};

struct libspawn__plan_limit {
    bool is_set;
    uint64_t soft;
    uint64_t hard;
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

    /* What of these counts is in 'options'. */
    uint64_t options; /* set of enum libspawn__plan_option */
    uint64_t uid;
    uint64_t gid;
    struct libspawn__plan_groups groups;
    uint64_t capabilities;
    uint64_t securebits;
    char *chroot;
    struct libspawn__strv read_paths; /* for Landlock */
    struct libspawn__strv write_paths;
    uint64_t namespaces; /* set of enum libspawn_namespace */
    char *cgroup;
    struct libspawn__plan_limit limits[LIBSPAWN__PLAN_RESOURCES];
    uint64_t umask;
    uint64_t nice;          /* a signed number, as is the next */
    uint64_t oom_score_adj;
    uint64_t scheduler;     /* enum libspawn_scheduler */
    uint64_t io_class;      /* enum libspawn_io_class */
    uint64_t io_level;

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
    uint64_t max_start_ms; /* by asking for more; 0: default */

    uint64_t start_ms; /* 0: for ever */
    uint64_t stop_ms;

    struct libspawn_err mark; /* of the first setter that failed; code 0 */
};

void libspawn__plan_init(struct libspawn_plan *plan);
void libspawn__plan_dispose(struct libspawn_plan *plan);
#define AUTO_PLAN AUTO(libspawn__plan_dispose)

/* Adds a descriptor: LIBSPAWN_ERR_LIMIT, _INVALID or _EXISTS. */
int libspawn__plan_add_fd(struct libspawn_plan *plan, int fd, int child_fd,
                          struct libspawn_err *err);
bool libspawn__plan_has_child_fd(const struct libspawn_plan *plan,
                                 int child_fd);

/* Adds a supplementary group: LIBSPAWN_ERR_LIMIT. */
int libspawn__plan_add_gid(struct libspawn_plan *plan, gid_t gid,
                           struct libspawn_err *err);

/* plan_user.c: fills uid, gid, groups and options as
 * libspawn_plan_set_user says. */
int libspawn__plan_find_user(struct libspawn_plan *plan, const char *user,
                             const char *group, struct libspawn_err *err);
int libspawn__plan_find_group(const char *name, gid_t *gid_r,
                              struct libspawn_err *err);

/* plan_check.c: whether it can be started; the error says what is wrong.
 * 'plan' may be NULL, which cannot. */
int libspawn__plan_check(const struct libspawn_plan *plan,
                         struct libspawn_err *err);

/* Appends everything but the descriptors themselves. */
int libspawn__plan_pack_bytes(const struct libspawn_plan *plan,
                              struct libspawn__buf *buf,
                              struct libspawn_err *err);

/* The same in a sealed memfd. */
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
