/*
 * Old kernels, and filters of system calls: each newer call is refused in the
 * caller, the watcher and the child.  A deed then works by other means, or
 * fails with one error that names the call; it leaves nothing behind.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/flow/plan_story.h"
#include "tests/sweep/deed.h"

enum { SWEEP_TEST_S = 60 };

enum {
    ANY = -1,
    BY_PIDFD = 3 /* P_PIDFD of waitid(2) */
};

enum refusal_option {
    WITH_LANDLOCK = 1 << 0,
    BEST_EFFORT = 1 << 1,
    WITH_CGROUP = 1 << 2
};

/* Up to three calls that came together. */
struct refusal {
    const char *name;
    int calls[3];
    int64_t first;        /* the first argument; ANY */
    unsigned int options; /* set of enum refusal_option */
    const char *error;    /* what the error names; NULL: it works */
};

static const struct refusal refusals[] = {
    { "clone3", { SYS_clone3 }, ANY, 0, NULL },
    { "pidfd_open", { SYS_pidfd_open }, ANY, 0, NULL },
    { "pidfd_send_signal", { SYS_pidfd_send_signal }, ANY, 0, NULL },
    { "pidfd_getfd", { SYS_pidfd_getfd }, ANY, 0, NULL },
    { "close_range", { SYS_close_range }, ANY, 0, NULL },
    { "openat2", { SYS_openat2 }, ANY, 0, NULL },
    { "epoll_pwait2", { SYS_epoll_pwait2 }, ANY, 0, NULL },
    { "getrandom", { SYS_getrandom }, ANY, 0, NULL },
    { "waitid P_PIDFD", { SYS_waitid }, BY_PIDFD, 0, NULL },
    { "memfd_create", { SYS_memfd_create }, ANY, 0, NULL },
    { "landlock, not used", { SYS_landlock_create_ruleset }, ANY, 0, NULL },
    { "landlock_create_ruleset",
      { SYS_landlock_create_ruleset },
      ANY,
      WITH_LANDLOCK,
      "Landlock" },
    { "landlock_create_ruleset, best effort",
      { SYS_landlock_create_ruleset },
      ANY,
      WITH_LANDLOCK | BEST_EFFORT,
      NULL },
    { "landlock_add_rule",
      { SYS_landlock_add_rule },
      ANY,
      WITH_LANDLOCK,
      "(landlock)" },
    { "landlock_restrict_self",
      { SYS_landlock_restrict_self },
      ANY,
      WITH_LANDLOCK,
      "(landlock)" },
    { "clone3 with CLONE_INTO_CGROUP", { SYS_clone3 }, ANY, WITH_CGROUP,
      NULL },
    { "pidfds of Linux 5.2",
      { SYS_pidfd_open, SYS_clone3, SYS_openat2 },
      ANY,
      0,
      NULL },
    { "pidfds of Linux 5.0",
      { SYS_pidfd_open, SYS_pidfd_send_signal, SYS_close_range },
      ANY,
      0,
      NULL },
};

static const int errnos[] = { ENOSYS, EPERM, EINVAL };

struct case_of {
    const struct refusal *refusal;
    int sys_errno;
};

static void
refuse(void *user)
{
    const struct case_of *c = user;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(c->refusal->calls); i++) {
        int call = c->refusal->calls[i];

        if (call && !plan_deny_call(call, c->refusal->first, c->sys_errno)) {
            _exit(1);
        }
    }
}

/* A start that fails before any process, or the report of the child. */
static void
assert_refused(const struct deed_run *run, const struct case_of *c)
{
    const struct deed_verdict *verdict = &run->verdict;
    const char *said = verdict->rc ? verdict->err.text : verdict->sentence;

    if (verdict->rc) {
        ck_assert_msg(verdict->rc == LIBSPAWN_ERR_UNSUPPORTED ||
                          verdict->rc == LIBSPAWN_ERR_SYSTEM,
                      "%s", deed_describe(run));
    } else {
        ck_assert_str_eq(verdict->trace, "failed");
        ck_assert_int_eq(verdict->end, LIBSPAWN_END_NO_EXEC);
    }
    assert_contains(said, c->refusal->error);
    assert_contains(said, strerror(c->sys_errno));
}

static void
run_case(const struct case_of *c, enum deed_kind kind, const char *cgroup)
{
    unsigned int options = c->refusal->options;
    struct deed deed = { .kind = kind,
                         .has_landlock = options & WITH_LANDLOCK,
                         .is_best_effort = options & BEST_EFFORT,
                         .cgroup = options & WITH_CGROUP ? cgroup : NULL,
                         .is_repeated = !c->refusal->error,
                         .before = refuse,
                         .user = (void *)(uintptr_t)c };
    struct deed_run run;

    deed_begin(&deed, &run);
    ck_assert_msg(deed_await(&run, 15000), "%s, %s: no answer: %s",
                  c->refusal->name, strerror(c->sys_errno),
                  deed_describe(&run));
    deed_assert_clean(&run);
    ck_assert_msg(run.is_told && !run.is_stale && !run.verdict.n_fds_left &&
                      !run.verdict.repeated_rc && !run.verdict.has_leaked,
                  "%s, %s: %s", c->refusal->name, strerror(c->sys_errno),
                  deed_describe(&run));
    if (c->refusal->error) {
        assert_refused(&run, c);
    } else {
        ck_assert_msg(deed_is_done(&run), "%s, %s: %s", c->refusal->name,
                      strerror(c->sys_errno), deed_describe(&run));
        ck_assert(kind != DEED_RELEASE || run.is_released);
    }
}

/* ---- Cgroups ----------------------------------------------------------- */

static char *
make_cgroup(void)
{
    static const char *const roots[] = { "/sys/fs/cgroup",
                                         "/sys/fs/cgroup/unified" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(roots); i++) {
        AUTO_FREE char *procs =
            libspawn__str_format("%s/cgroup.procs", roots[i]);
        AUTO_FREE char *path = libspawn__str_format(
            "%s/libspawn-sweep-%d", roots[i], (int)getpid());

        if (!access(procs, W_OK) && !mkdir(path, 0755)) {
            return TAKE_PTR(path);
        }
    }
    return NULL;
}

static void
remove_cgroup(char **path)
{
    if (*path) {
        rmdir(*path);
        free(*path);
    }
}

/* ---- All of them ------------------------------------------------------- */

static void
sweep_kernel(enum deed_kind kind)
{
    AUTO(remove_cgroup) char *cgroup = make_cgroup();
    unsigned int n = 0;
    unsigned int n_worked = 0;
    size_t i;
    size_t j;

    for (i = 0; i < ARRAY_SIZE(refusals); i++) {
        /* Landlock is a matter of the start only. */
        if (refusals[i].error && kind != DEED_STOP) {
            continue;
        }
        for (j = 0; j < ARRAY_SIZE(errnos); j++) {
            const struct case_of c = { &refusals[i], errnos[j] };

            run_case(&c, kind, cgroup);
            n++;
            n_worked += !refusals[i].error;
        }
    }
    sweep_print("kernel %s: %u refusals, %u worked around, %u clear errors",
                deed_name(kind), n, n_worked, n - n_worked);
}

TEST_TIMEOUT(newer_calls_are_refused__start_and_stop_work, SWEEP_TEST_S)
{
    sweep_kernel(DEED_STOP);
}

TEST_TIMEOUT(newer_calls_are_refused__failure_is_told, SWEEP_TEST_S)
{
    sweep_kernel(DEED_FAIL);
}

TEST_TIMEOUT(newer_calls_are_refused__release_works, SWEEP_TEST_S)
{
    sweep_kernel(DEED_RELEASE);
}

TEST_MAIN("sweep_kernel")
