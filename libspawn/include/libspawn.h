/*
 * libspawn: starts a long-lived child, such as the device model of a guest,
 * knows within a millisecond whether it came up and if not why, records it,
 * watches it for life, and ends it without ever touching another process.
 *
 * The caller never forks and never becomes the parent of the child:
 *
 *     caller --posix_spawn--> spawn-watcher --fork, hold, exec--> child
 *
 * How to use it: make a context, put its descriptor into your own event loop
 * (level-triggered), call libspawn_ctx_dispatch when it is readable; or call
 * libspawn_ctx_wait, which does both.  Build a plan, start it, act on events.
 *
 * Rules that hold everywhere:
 *  - A function that can fail returns 0 or a negative enum libspawn_code and
 *    fills 'err' when it is not NULL.  Outputs, named *_r, are untouched on
 *    failure.
 *  - Callbacks come only from libspawn_ctx_dispatch (or _wait), never from
 *    inside the call that started something.
 *  - One thread at a time per context; no locks, no signal handlers, no
 *    atfork handlers, no reaping of processes that the library did not start.
 *    Do not reap the library's.
 *  - Times are milliseconds; strings are copied; NULL may be freed.
 *  - SIGPIPE never arises from the library.
 */
#ifndef LIBSPAWN_H
#define LIBSPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LIBSPAWN_EXPORT __attribute__((visibility("default")))

/* ---- Errors ------------------------------------------------------------
 *
 * A closed list.  Each code is defined by what the caller should do about it.
 */
enum libspawn_code {
    LIBSPAWN_OK = 0,
    LIBSPAWN_ERR_INVALID = -1,      /* the request is wrong: correct it */
    LIBSPAWN_ERR_NOT_FOUND = -2,    /* a named thing does not exist */
    LIBSPAWN_ERR_EXISTS = -3,       /* the name is taken: choose another */
    LIBSPAWN_ERR_BUSY = -4,         /* somebody works on it: try again */
    LIBSPAWN_ERR_DENIED = -5,       /* no right to do that */
    LIBSPAWN_ERR_NO_MEMORY = -6,    /* free memory and try again */
    LIBSPAWN_ERR_LIMIT = -7,        /* descriptors, processes, disk space or
                                       a size bound used up */
    LIBSPAWN_ERR_TIMEOUT = -8,      /* a deadline passed */
    LIBSPAWN_ERR_GONE = -9,         /* the process or peer has ended */
    LIBSPAWN_ERR_CHILD = -10,       /* the child failed: read its report */
    LIBSPAWN_ERR_ABORTED = -11,     /* the caller asked for it */
    LIBSPAWN_ERR_CONFLICT = -12,    /* the transaction lost: run it again */
    LIBSPAWN_ERR_PROTOCOL = -13,    /* a peer broke the protocol */
    LIBSPAWN_ERR_UNSUPPORTED = -14, /* not on this host or in this version */
    LIBSPAWN_ERR_SYSTEM = -15       /* a system call failed: see sys_errno */
};

/* What went wrong.  Filled on failure only, otherwise untouched. */
struct libspawn_err {
    int code;       /* enum libspawn_code */
    int sys_errno;  /* errno of the failed system call; 0: none */
    char text[512]; /* one sentence, no full stop, no newline */
};

/* The word for a code in machine-read output, e.g. "not-found". */
LIBSPAWN_EXPORT const char *libspawn_code_name(int code);

/* ---- Context -----------------------------------------------------------
 */
struct libspawn_ctx;

/* How a process is started and reaped; for callers whose program reaps every
 * child itself or must know of each fork. */
struct libspawn_hooks {
    /* In place of posix_spawn(3): starts 'path' with exactly the given
     * arguments and environment and with descriptor 'fd' as descriptor 3.
     * Returns 0 and the pid, or an errno. */
    int (*spawn)(void *user, const char *path, char *const argv[],
                 char *const envp[], int fd, pid_t *pid_r);
    /* In place of waitpid(2) with WNOHANG: returns the pid and its wait
     * status, 0 while it lives, or -1 and errno.  ECHILD is taken as "ended,
     * status unknown". */
    pid_t (*waitpid)(void *user, pid_t pid, int *status_r);
    void *user;
};

struct libspawn_ctx_options {
    const char *watcher_path; /* NULL: beside the program, then LIBEXECDIR */
    const struct libspawn_hooks *hooks; /* NULL: none; copied */
};

/* 'options' may be NULL.  The context belongs to the process that made it: a
 * fork of it gets LIBSPAWN_ERR_INVALID from dispatch. */
LIBSPAWN_EXPORT int
libspawn_ctx_new(const struct libspawn_ctx_options *options,
                 struct libspawn_ctx **ctx_r, struct libspawn_err *err);

/* Aborts what is not released yet, as if the caller had died.  Watchers that
 * still live are children of this process that nobody reaps any more. */
LIBSPAWN_EXPORT void libspawn_ctx_free(struct libspawn_ctx *ctx);

/* Starts ahead what the next libspawn_child_start needs for a plan with this
 * kind of store ("xenstore:"; NULL and all others are one kind), so that it is
 * loaded by then.  'title' is what process lists show of it.  Without effect
 * when there is one already; one that is never used ends with the context. */
LIBSPAWN_EXPORT int libspawn_ctx_prepare(struct libspawn_ctx *ctx,
                                         const char *store_address,
                                         const char *title,
                                         struct libspawn_err *err);

/* The descriptor to watch, level-triggered.  Not readable means that dispatch
 * has nothing to do. */
LIBSPAWN_EXPORT int libspawn_ctx_fd(const struct libspawn_ctx *ctx);

/* Runs what is due, and the callbacks; never blocks. */
LIBSPAWN_EXPORT int libspawn_ctx_dispatch(struct libspawn_ctx *ctx,
                                          struct libspawn_err *err);

/* Waits at most 'timeout_ms' (-1: for ever) for something to do and
 * dispatches it.  Time running out, or a signal, is not an error. */
LIBSPAWN_EXPORT int libspawn_ctx_wait(struct libspawn_ctx *ctx, int timeout_ms,
                                      struct libspawn_err *err);

/* ---- Plan: what to start, and as what ----------------------------------
 *
 * A plan is filled by setters and can be started many times.  Setters return
 * nothing: one that cannot do what it is told, for want of memory or because
 * of a bad value, marks the plan, and libspawn_child_start then fails with
 * the code and the sentence of the first mark.  Setters do nothing with a
 * NULL plan, which cannot be started either.  A string that is set again, or
 * to NULL, replaces the old one.
 *
 * Codes of a start that is refused before any process exists: _INVALID (a
 * value that can never be right, something is missing or contradicts), _LIMIT
 * (more than fits), _EXISTS (a descriptor of the child given twice),
 * _NOT_FOUND (a user or group that does not exist), _UNSUPPORTED (the kernel
 * has no Landlock), _NO_MEMORY.
 *
 * What only the child itself can find out, such as a directory that is missing
 * or a right that it lacks, comes as LIBSPAWN_EVENT_FAILED with
 * LIBSPAWN_END_NO_EXEC: the report names the step, by the word that stands at
 * its setter, and the errno.  The program has not run then.  Steps are taken
 * in this order, whatever the order of the setters:
 *
 *     session signals namespaces mounts descriptors oom_score_adj limits nice
 *     scheduler io-priority umask bounding-set securebits chroot groups group
 *     user capabilities directory no-new-privs landlock cgroup hold exec
 *
 * Without a setter the child has what the caller has, except for what is said
 * at descriptors, environment and directory.
 */
struct libspawn_plan;

enum libspawn_ready {
    LIBSPAWN_READY_EXEC = 0,        /* nothing more than a successful exec */
    LIBSPAWN_READY_STORE = 1 << 0,  /* a store node has a given value */
    LIBSPAWN_READY_NOTIFY = 1 << 1, /* a newline on a given descriptor */
    LIBSPAWN_READY_CALLER = 1 << 2, /* libspawn_child_confirm was called */
    LIBSPAWN_READY_SOCKET = 1 << 3  /* READY=1 by sd_notify(3) */
};

LIBSPAWN_EXPORT struct libspawn_plan *libspawn_plan_new(void); /* or NULL */
LIBSPAWN_EXPORT void libspawn_plan_free(struct libspawn_plan *plan);

/* What the report calls it, e.g. "device model" of guest "win7". */
LIBSPAWN_EXPORT void libspawn_plan_set_label(struct libspawn_plan *plan,
                                             const char *label,
                                             const char *guest);

/* The path of the program (no search), as the child sees it, and one argument
 * after the other, beginning with argument zero.  All arguments and the
 * environment together are at most 16 MiB here; the kernel may accept less
 * (step "exec", E2BIG). */
LIBSPAWN_EXPORT void libspawn_plan_set_program(struct libspawn_plan *plan,
                                               const char *path);
LIBSPAWN_EXPORT void libspawn_plan_add_arg(struct libspawn_plan *plan,
                                           const char *arg);

/* The environment is exactly what is added here, "NAME=value" each; with
 * nothing added it is empty. */
LIBSPAWN_EXPORT void libspawn_plan_add_env(struct libspawn_plan *plan,
                                           const char *assignment);

/* Default: "/".  As the child sees it, entered with the child's rights.
 * Step: "directory". */
LIBSPAWN_EXPORT void libspawn_plan_set_directory(struct libspawn_plan *plan,
                                                 const char *directory);

/* The caller's 'fd' becomes the child's descriptor 'child_fd' (0 to 1000, so
 * also 0 to 2; each once; at most 200).  Borrowed until libspawn_child_start
 * returns.  The child gets these, /dev/null as 0, and the log as 1 and 2;
 * nothing else is open.  Step: "descriptors". */
LIBSPAWN_EXPORT void libspawn_plan_add_fd(struct libspawn_plan *plan, int fd,
                                          int child_fd);

/* ---- Plan: whose rights it has ------------------------------------------
 */

/* The user and the primary group, each by name or decimal number; NULL: the
 * group of the user, or with 'user' NULL the caller's user.  A user given by
 * name also gets the supplementary groups that the group database lists for
 * it; one given by number, and a group alone, get none.  Names are looked up
 * here and now, which may ask the network; a number needs no entry unless its
 * group has to be found.  Groups that were added before are forgotten.  Needs
 * CAP_SETUID and CAP_SETGID.
 * Steps: "groups", "group", "user". */
LIBSPAWN_EXPORT void libspawn_plan_set_user(struct libspawn_plan *plan,
                                            const char *user,
                                            const char *group);

/* One more supplementary group, by name or number; at most 65536 in all.
 * Without libspawn_plan_set_user these replace the caller's.  Needs
 * CAP_SETGID.  Step: "groups". */
LIBSPAWN_EXPORT void libspawn_plan_add_group(struct libspawn_plan *plan,
                                             const char *group);

/* The capabilities that the program has, and no others: a set of
 * 1 << CAP_... of <linux/capability.h>; 0: none.  They are its bounding,
 * inheritable, permitted and effective set, and its ambient set unless
 * SECBIT_NO_CAP_AMBIENT_RAISE forbids that.  Needs each of them, and
 * CAP_SETPCAP to take others out of the bounding set.
 * Steps: "bounding-set", "capabilities". */
LIBSPAWN_EXPORT void libspawn_plan_set_capabilities(struct libspawn_plan *plan,
                                                    uint64_t capabilities);

/* The securebits flags of prctl(2), SECBIT_... of <linux/securebits.h>.  Needs
 * CAP_SETPCAP.  Step: "securebits". */
LIBSPAWN_EXPORT void libspawn_plan_set_securebits(struct libspawn_plan *plan,
                                                  unsigned int bits);

/* Neither it nor what it executes gains rights by set-user-ID programs or
 * file capabilities.  Needs nothing.  Step: "no-new-privs". */
LIBSPAWN_EXPORT void
libspawn_plan_set_no_new_privs(struct libspawn_plan *plan);

/* Its root directory.  Program, directory, Landlock paths and what the
 * program opens are below it; descriptors, log and store are not.  Confines
 * only a child that is not root.  Needs CAP_SYS_CHROOT.  Step: "chroot". */
LIBSPAWN_EXPORT void libspawn_plan_set_chroot(struct libspawn_plan *plan,
                                              const char *directory);

enum libspawn_landlock {
    LIBSPAWN_LANDLOCK_REQUIRED,   /* no start on a kernel without Landlock */
    LIBSPAWN_LANDLOCK_BEST_EFFORT /* there it starts and is not confined */
};

/* It reaches files only by the paths that are added, and by descriptors that
 * it was given; implies libspawn_plan_set_no_new_privs.  The paths of the
 * program and of its shared libraries have to be among them.  What a kernel's
 * Landlock does not know it does not forbid: truncation before Linux 6.2,
 * ioctls on devices before 6.10.  Needs nothing.  Step: "landlock". */
LIBSPAWN_EXPORT void libspawn_plan_set_landlock(struct libspawn_plan *plan,
                                                enum libspawn_landlock how);

enum libspawn_access {
    LIBSPAWN_ACCESS_READ, /* read, list, execute */
    LIBSPAWN_ACCESS_WRITE /* that, and change, make and remove */
};

/* What is at and beneath 'path' (a file or a directory, as the child sees it;
 * it must exist).  Only with libspawn_plan_set_landlock.  File permissions
 * hold besides. */
LIBSPAWN_EXPORT void
libspawn_plan_add_landlock_path(struct libspawn_plan *plan, const char *path,
                                enum libspawn_access access);

/* ---- Plan: where it runs, and how much it gets --------------------------
 */

enum libspawn_namespace {
    LIBSPAWN_NAMESPACE_MOUNT = 1 << 0, /* a copy; its mounts stay in there */
    LIBSPAWN_NAMESPACE_IPC = 1 << 1,
    LIBSPAWN_NAMESPACE_NET = 1 << 2, /* empty: a loopback that is down */
    LIBSPAWN_NAMESPACE_PID = 1 << 3,
    LIBSPAWN_NAMESPACE_UTS = 1 << 4
};

/* New namespaces, a set of the above.  In a new pid namespace the child is
 * process 1: a signal that it does not handle, or not yet, such as SIGTERM,
 * does not end it (SIGKILL does, after the grace), and what it started ends
 * with it; /proc still shows the host's pids.  Needs CAP_SYS_ADMIN.
 * Steps: "namespaces", "mounts". */
LIBSPAWN_EXPORT void libspawn_plan_set_namespaces(struct libspawn_plan *plan,
                                                  unsigned int namespaces);

/* The cgroup (v2) in which it is born: a directory that the caller made and
 * that nobody here removes.  Needs the right to write cgroup.procs there and
 * in the nearest common ancestor.  Step: "cgroup". */
LIBSPAWN_EXPORT void libspawn_plan_set_cgroup(struct libspawn_plan *plan,
                                              const char *directory);

#define LIBSPAWN_UNLIMITED UINT64_MAX

/* A resource limit: RLIMIT_... of <sys/resource.h>, and its soft and hard
 * value in the units of getrlimit(2).  A hard value above the caller's needs
 * CAP_SYS_RESOURCE.  Step: "limits". */
LIBSPAWN_EXPORT void libspawn_plan_set_limit(struct libspawn_plan *plan,
                                             int resource, uint64_t soft,
                                             uint64_t hard);

/* Core dumps of at most so many bytes.  0: none at all, also none to a program
 * that kernel.core_pattern names and that no limit of its size stops; this
 * shows as an RLIMIT_CORE of 1.  Otherwise the same as libspawn_plan_set_limit
 * of RLIMIT_CORE.  (PR_SET_DUMPABLE is no option: exec sets it back.)
 * Step: "limits". */
LIBSPAWN_EXPORT void libspawn_plan_set_core_size(struct libspawn_plan *plan,
                                                 uint64_t max_size);

/* The file mode creation mask, 0 to 0777.  Step: "umask". */
LIBSPAWN_EXPORT void libspawn_plan_set_umask(struct libspawn_plan *plan,
                                             unsigned int mask);

/* Nice value, -20 (favoured) to 19.  A lower one than the caller's needs
 * CAP_SYS_NICE, or a RLIMIT_NICE that allows it.  Step: "nice". */
LIBSPAWN_EXPORT void libspawn_plan_set_nice(struct libspawn_plan *plan,
                                            int nice);

/* Whom the kernel kills first when memory runs out: -1000 (never) to 1000.  A
 * lower one than the caller's needs CAP_SYS_RESOURCE.
 * Step: "oom_score_adj". */
LIBSPAWN_EXPORT void
libspawn_plan_set_oom_score_adj(struct libspawn_plan *plan, int score);

enum libspawn_scheduler {
    LIBSPAWN_SCHEDULER_OTHER, /* the usual one */
    LIBSPAWN_SCHEDULER_BATCH, /* a little behind what is interactive */
    LIBSPAWN_SCHEDULER_IDLE   /* only when nobody else wants to run */
};

/* Scheduling policy, beside the nice value.  Needs nothing, but to leave IDLE
 * what a lower nice value needs.  Step: "scheduler". */
LIBSPAWN_EXPORT void
libspawn_plan_set_scheduler(struct libspawn_plan *plan,
                            enum libspawn_scheduler scheduler);

enum libspawn_io_class {
    LIBSPAWN_IO_BEST_EFFORT,
    LIBSPAWN_IO_IDLE /* only when the disk has nothing else to do */
};

/* I/O priority; 'level' is 0 (first) to 7, and 0 for IDLE.  Matters to I/O
 * schedulers that know priorities (bfq, mq-deadline).  Needs nothing.
 * Step: "io-priority". */
LIBSPAWN_EXPORT void
libspawn_plan_set_io_priority(struct libspawn_plan *plan,
                              enum libspawn_io_class io_class,
                              unsigned int level);

/* ---- Plan: what is kept of it, and when it is ready ---------------------
 */

/* Where stdout and stderr go: a file of at most 'max_size' bytes, of which
 * 'n_old' older ones are kept as PATH.1, PATH.2, ...  Without a path only the
 * last lines are kept, for the report.  0 means the default (1 MiB, 4). */
LIBSPAWN_EXPORT void libspawn_plan_set_log(struct libspawn_plan *plan,
                                           const char *path, size_t max_size,
                                           unsigned int n_old);

/* Each line of the log begins with the time at which the watcher read its
 * first byte, "2026-11-21T12:34:56.789Z " (UTC).  Not in the last lines. */
LIBSPAWN_EXPORT void libspawn_plan_set_log_stamps(struct libspawn_plan *plan);

/* Which store ("dir:PATH", "xenstore:"; NULL: no record is kept) and where in
 * it the record is written before the child runs. */
LIBSPAWN_EXPORT void libspawn_plan_set_record(struct libspawn_plan *plan,
                                              const char *store_address,
                                              const char *path);

/* A further node that gets the decimal pid, before the child runs. */
LIBSPAWN_EXPORT void libspawn_plan_add_pid_node(struct libspawn_plan *plan,
                                                const char *path);

/* A file, such as a socket that was made for the child, that is removed when
 * the child has ended, whoever ended it. */
LIBSPAWN_EXPORT void libspawn_plan_remove_at_end(struct libspawn_plan *plan,
                                                 const char *path);

/* Conditions of readiness; all that were added must come true. */
LIBSPAWN_EXPORT void libspawn_plan_ready_on_store(struct libspawn_plan *plan,
                                                  const char *path,
                                                  const char *value);
LIBSPAWN_EXPORT void libspawn_plan_ready_on_notify(struct libspawn_plan *plan,
                                                   int child_fd);
LIBSPAWN_EXPORT void
libspawn_plan_ready_on_confirm(struct libspawn_plan *plan);

/* The child says READY=1 by sd_notify(3).  For that its environment gets
 * NOTIFY_SOCKET, the abstract name of a socket of its watcher, which it
 * reaches from a chroot, but not from a network namespace of its own
 * (LIBSPAWN_ERR_INVALID).  Until the start is over it may also say
 *
 *   STATUS=text            what it is doing: the stage of the report, and of
 *                          a deadline that is missed; at most 255 bytes
 *   EXTEND_TIMEOUT_USEC=N  that its start may take N microseconds more from
 *                          now on; never less than before, and in all not
 *                          more than 'max_start_ms' from the start (0: ten
 *                          times what libspawn_plan_set_timeouts says)
 *
 * Everything else it says is ignored, and so is what another process says,
 * also one that the child started: the kernel tells who it is.  (A process
 * with CAP_SYS_ADMIN may speak in the child's name.)  Once the child is ready
 * nobody listens any more, and sd_notify(3) fails with EPIPE. */
LIBSPAWN_EXPORT void
libspawn_plan_ready_on_socket(struct libspawn_plan *plan,
                              uint32_t max_start_ms);

/* How long the start may take (default 60 s; 0: for ever), and how long the
 * child may take to end after SIGTERM before SIGKILL (default 10 s). */
LIBSPAWN_EXPORT void libspawn_plan_set_timeouts(struct libspawn_plan *plan,
                                                uint32_t start_ms,
                                                uint32_t stop_ms);

/* ---- Report: how it ended ----------------------------------------------
 */
enum libspawn_end {
    LIBSPAWN_END_NONE,     /* it lives */
    LIBSPAWN_END_NO_EXEC,  /* never ran: 'step' and 'sys_errno' say why */
    LIBSPAWN_END_EXITED,   /* by itself, with 'exit_code' */
    LIBSPAWN_END_SIGNALED, /* by 'signal', which was not ours */
    LIBSPAWN_END_DEADLINE, /* ended by us: not ready in time */
    LIBSPAWN_END_REFUSED,  /* ended by us: the caller's check refused it */
    LIBSPAWN_END_ABORTED,  /* ended by us: the caller asked, or is gone */
    LIBSPAWN_END_STOPPED,  /* ended by us: libspawn_child_stop */
    LIBSPAWN_END_UNKNOWN   /* ended, and nobody can know how */
};

struct libspawn_report {
    const char *label;   /* "device model" */
    const char *guest;   /* "" when it belongs to none */
    const char *program; /* path */
    const char *stage;   /* where the start was, e.g. "waiting for QMP" */
    const char *detail;  /* of a refusal; when NO_EXEC the path or limit that
                            the step was about; "" otherwise */
    enum libspawn_end end;
    pid_t pid;           /* 0: never known */
    int exit_code;       /* when EXITED */
    int signal;          /* when SIGNALED */
    int sys_errno;       /* when NO_EXEC */
    const char *step;    /* when NO_EXEC: "exec", "chdir", ... */
    bool core_dumped;
    bool out_of_memory;  /* the kernel killed it to free memory; see below */
    int64_t lived_ms;    /* from exec to the end */
    int64_t deadline_ms; /* when DEADLINE: how long it had */
    const char *tail;    /* the last lines it wrote, at most 20; may be "" */
    const char *log_path; /* "" without a log */
    char *const *argv;   /* ends with NULL */
    bool is_oom_known;   /* otherwise 'out_of_memory' means nothing */
    bool has_usage;      /* whether the next three mean anything */
    int64_t user_us;     /* processor time, with what it reaped */
    int64_t system_us;
    int64_t max_rss_kib; /* most memory that it had at once */
};

/* One sentence, no newline: guest, program, what happened, how long it lived.
 * NULL without memory; free with free(3). */
LIBSPAWN_EXPORT char *
libspawn_report_sentence(const struct libspawn_report *report);

/* The sentence, the tail and the log's path, a line each. */
LIBSPAWN_EXPORT char *
libspawn_report_text(const struct libspawn_report *report);

/* One JSON object; docs/PROTOCOLS.md lists its members. */
LIBSPAWN_EXPORT char *
libspawn_report_json(const struct libspawn_report *report);

/* What a command that waited for it should exit with: its own code 1-125, 126
 * not executable, 127 not found, 128 + signal, 124 deadline, else 1. */
LIBSPAWN_EXPORT int
libspawn_report_exit_status(const struct libspawn_report *report);

/* ---- Child: one start and what follows ---------------------------------
 *
 *                 start
 *                   |
 *   STARTING  record written, child held, then exec
 *                   |  EVENT_STARTED
 *   WAITING   for the conditions of readiness -----.
 *                   |  EVENT_READY                 |  EVENT_FAILED
 *   READY     record says "running" -------------- | ------.
 *                   |  release                     |       | EVENT_EXITED
 *   RELEASED  belongs to its watcher               v       v
 *                                                 ENDED (report available)
 *
 * FAILED or EXITED comes exactly once, unless the child was released.
 */
struct libspawn_child;

enum libspawn_event {
    LIBSPAWN_EVENT_STARTED, /* recorded, and exec succeeded */
    LIBSPAWN_EVENT_READY,   /* every condition holds, record says "running" */
    LIBSPAWN_EVENT_FAILED,  /* ended before it was ready; nothing is left */
    LIBSPAWN_EVENT_EXITED   /* ended after it was ready */
};

typedef void libspawn_event_fn(struct libspawn_child *child,
                               enum libspawn_event event, void *user);

/* Starts what 'plan' says; the plan may be freed afterwards.  Never waits for
 * the child.  Failures that come before any process exists are returned here,
 * all others by LIBSPAWN_EVENT_FAILED. */
LIBSPAWN_EXPORT int
libspawn_child_start(struct libspawn_ctx *ctx,
                     const struct libspawn_plan *plan, libspawn_event_fn *fn,
                     void *user, struct libspawn_child **child_r,
                     struct libspawn_err *err);

/* 0 while starting or running, LIBSPAWN_ERR_CHILD when it has ended.  Reads
 * what is already known; never blocks. */
LIBSPAWN_EXPORT int libspawn_child_check(const struct libspawn_child *child,
                                         struct libspawn_err *err);

/* What is known of it; valid until the child is freed or changes state. */
LIBSPAWN_EXPORT const struct libspawn_report *
libspawn_child_report(const struct libspawn_child *child);

/* 0 before LIBSPAWN_EVENT_STARTED. */
LIBSPAWN_EXPORT pid_t libspawn_child_pid(const struct libspawn_child *child);

/* The caller's own condition holds (LIBSPAWN_READY_CALLER). */
LIBSPAWN_EXPORT void libspawn_child_confirm(struct libspawn_child *child);

/* The caller's own check says no: the child is ended and the start fails with
 * LIBSPAWN_END_REFUSED and this sentence. */
LIBSPAWN_EXPORT void libspawn_child_refuse(struct libspawn_child *child,
                                           const char *sentence);

/* Names where the start is, for the report of a missed deadline. */
LIBSPAWN_EXPORT void libspawn_child_set_stage(struct libspawn_child *child,
                                              const char *stage);

/* From now on the start may take 'ms' milliseconds (0: for ever), whatever the
 * plan, an earlier call or the child itself said; no effect on a child that is
 * ready or has ended.  What the child may ask for at most
 * (libspawn_plan_ready_on_socket) stays. */
LIBSPAWN_EXPORT void libspawn_child_set_deadline(struct libspawn_child *child,
                                                 uint32_t ms);

/* Blocks until the child is ready, released or ended, dispatching the whole
 * context meanwhile.  'check' (may be NULL) is called after each turn; a
 * value other than 0 ends the wait and is returned.  Returns 0 when ready,
 * LIBSPAWN_ERR_CHILD when ended, LIBSPAWN_ERR_TIMEOUT after 'timeout_ms'. */
LIBSPAWN_EXPORT int
libspawn_child_wait_ready(struct libspawn_child *child, int timeout_ms,
                          int (*check)(void *user), void *user,
                          struct libspawn_err *err);

enum libspawn_release {
    LIBSPAWN_RELEASE_WATCHED, /* the watcher stays and records the end */
    LIBSPAWN_RELEASE_DETACHED /* the watcher leaves; nobody watches, and the
                                 child's output is a broken pipe */
};

/* The child shall live on when the caller ends.  Only when READY
 * (LIBSPAWN_ERR_INVALID); again is fine and does nothing.  Blocks until the
 * watcher has taken notice (a millisecond). */
LIBSPAWN_EXPORT int libspawn_child_release(struct libspawn_child *child,
                                           enum libspawn_release how,
                                           struct libspawn_err *err);

/* Ends it: SIGTERM, the plan's grace, SIGKILL.  The event follows. */
LIBSPAWN_EXPORT void libspawn_child_stop(struct libspawn_child *child);

/* Takes a child over that was released, by its record: as libspawn_child_start
 * gives it, in state RELEASED or ENDED, with LIBSPAWN_EVENT_EXITED to come, at
 * once if it has ended.  It is the very process that the record names, and so
 * is its watcher, or nothing is touched.  When the watcher lives the child is
 * attached to it again, beside any others that are; when it died the kernel
 * tells the status (since Linux 6.15, else it is unknown), and the record gets
 * it.  May be stopped and freed, as often as wanted, by any process that may
 * read the record and runs as the watcher's user or root.  Blocks until the
 * watcher has answered (a millisecond).
 *
 * LIBSPAWN_ERR_NOT_FOUND without a record, LIBSPAWN_ERR_BUSY when its caller
 * has not released it and lives, or its watcher ends it, LIBSPAWN_ERR_TIMEOUT
 * when it has ended and its watcher, which lives, does not say how. */
LIBSPAWN_EXPORT int
libspawn_child_adopt(struct libspawn_ctx *ctx, const char *store_address,
                     const char *record_path, libspawn_event_fn *fn,
                     void *user, struct libspawn_child **child_r,
                     struct libspawn_err *err);

/* The watcher of a released child, to which this one is attached, becomes the
 * program that a start would use now, such as that of a newer package.  It is
 * the same process still; child, log and whoever is attached notice nothing.
 * A program that cannot take over gives back to the old one
 * (LIBSPAWN_ERR_UNSUPPORTED).  Blocks until that is done (milliseconds). */
LIBSPAWN_EXPORT int
libspawn_child_upgrade_watcher(struct libspawn_child *child,
                               struct libspawn_err *err);

/* Ends what is not released; no event follows.  NULL is fine. */
LIBSPAWN_EXPORT void libspawn_child_free(struct libspawn_child *child);

#ifdef __cplusplus
}
#endif

#endif
