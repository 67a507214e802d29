#include "tests/sweep/deed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "dm/end.h"
#include "proc/record.h"
#include "tests/lib/harness.h"

/* An event must come within; a deed that waits longer has hung. */
enum {
    EVENT_MS = 6000,
    GONE_MS = 5000
};

int
deed_slowness(const struct deed *deed)
{
    return deed->address ? 5 : 1;
}

/* ---- In the process ---------------------------------------------------- */

/* Of LeakSanitizer, where it is linked. */
extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

struct actor {
    const struct deed *deed;
    struct deed_verdict *verdict;
    struct libspawn_ctx *ctx;
    struct libspawn_plan *plan;
    struct libspawn_child *child;
    struct libspawn_err err;
    char trace[64];
    const char *address;
    const char *watcher;
    const char *record;
};

static void
on_event(struct libspawn_child *child, enum libspawn_event event, void *user)
{
    static const char *const names[] = {
        [LIBSPAWN_EVENT_STARTED] = "started",
        [LIBSPAWN_EVENT_READY] = "ready",
        [LIBSPAWN_EVENT_FAILED] = "failed",
        [LIBSPAWN_EVENT_EXITED] = "exited",
    };
    struct actor *actor = user;
    size_t len = strlen(actor->trace);

    (void)child;
    snprintf(actor->trace + len, sizeof actor->trace - len, "%s%s",
             len ? " " : "", names[event]);
}

static bool
has_come(const struct actor *actor, const char *event)
{
    return strstr(actor->trace, event);
}

static bool
has_ended(const struct actor *actor)
{
    return has_come(actor, "failed") || has_come(actor, "exited");
}

/* Also when the child ends instead. */
static int
await_event(struct actor *actor, const char *event)
{
    int64_t until_ms =
        libspawn__clock_now_ms() + EVENT_MS * deed_slowness(actor->deed);

    while (!has_come(actor, event) && !has_ended(actor)) {
        int64_t left_ms = until_ms - libspawn__clock_now_ms();
        int rc;

        if (left_ms <= 0) {
            return libspawn__fail(&actor->err, LIBSPAWN_ERR_TIMEOUT,
                                  "no event '%s' came", event);
        }
        rc = libspawn_ctx_wait(actor->ctx, (int)left_ms, &actor->err);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static struct libspawn_plan *
make_plan(const struct actor *actor, enum deed_kind kind)
{
    const char *program =
        kind == DEED_FAIL ? "/nonexistent/program" : "/bin/sleep";
    struct libspawn_plan *plan = libspawn_plan_new();

    libspawn_plan_set_label(plan, "device model", "deed");
    libspawn_plan_set_program(plan, program);
    libspawn_plan_add_arg(plan, "sleep");
    libspawn_plan_add_arg(plan, "1000");
    libspawn_plan_set_record(plan, actor->address, actor->record);
    if (actor->deed->has_landlock) {
        libspawn_plan_set_landlock(plan, actor->deed->is_best_effort
                                             ? LIBSPAWN_LANDLOCK_BEST_EFFORT
                                             : LIBSPAWN_LANDLOCK_REQUIRED);
        libspawn_plan_add_landlock_path(plan, "/", LIBSPAWN_ACCESS_READ);
    }
    libspawn_plan_set_cgroup(plan, actor->deed->cgroup);
    return plan;
}

static int
make_ctx(struct actor *actor)
{
    const struct libspawn_ctx_options options = { .watcher_path =
                                                      actor->watcher };

    return actor->ctx
               ? 0
               : libspawn_ctx_new(&options, &actor->ctx, &actor->err);
}

static int
perform(struct actor *actor, enum deed_kind kind)
{
    int rc = make_ctx(actor);

    if (rc) {
        return rc;
    }
    actor->plan = make_plan(actor, kind);
    if (!actor->plan) {
        return libspawn__fail_nomem(&actor->err);
    }
    rc = libspawn_child_start(actor->ctx, actor->plan, on_event, actor,
                              &actor->child, &actor->err);
    if (!rc) {
        rc = await_event(actor, "ready");
    }
    if (rc || has_ended(actor)) {
        return rc;
    }
    if (kind == DEED_RELEASE) {
        return libspawn_child_release(actor->child, LIBSPAWN_RELEASE_WATCHED,
                                      &actor->err);
    }
    libspawn_child_stop(actor->child);
    return await_event(actor, "exited");
}

static void
note_report(const struct actor *actor)
{
    struct deed_verdict *verdict = actor->verdict;
    AUTO_FREE char *sentence = NULL;

    if (actor->child) {
        const struct libspawn_report *report =
            libspawn_child_report(actor->child);

        sentence = libspawn_report_sentence(report);
        verdict->end = report->end;
        verdict->sys_errno = report->sys_errno;
    }
    snprintf(verdict->sentence, sizeof verdict->sentence, "%s",
             sentence ? sentence : "");
    memcpy(verdict->trace, actor->trace, sizeof verdict->trace);
}

static void
forget_child(struct actor *actor)
{
    libspawn_child_free(TAKE_PTR(actor->child));
    libspawn_plan_free(TAKE_PTR(actor->plan));
    actor->trace[0] = '\0';
}

static bool
has_children(void)
{
    siginfo_t info;

    return !waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
}

/* The context reaps every watcher by itself. */
static int
await_watchers(struct actor *actor)
{
    int64_t until_ms =
        libspawn__clock_now_ms() + GONE_MS * deed_slowness(actor->deed);

    while (has_children()) {
        int rc = 0;

        if (libspawn__clock_now_ms() >= until_ms) {
            return libspawn__fail(&actor->err, LIBSPAWN_ERR_TIMEOUT,
                                  "a watcher is not reaped");
        }
        rc = libspawn_ctx_wait(actor->ctx, 20, &actor->err);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

/* By what the caller was told. */
static bool
was_released(const struct deed *deed, const struct deed_verdict *verdict)
{
    return deed->kind == DEED_RELEASE && !verdict->rc &&
           !strstr(verdict->trace, "failed") &&
           !strstr(verdict->trace, "exited");
}

/* In the same context, which has to be as good as new.  With another record:
 * the first is looked at when all is over. */
static void
repeat(struct actor *actor)
{
    struct deed_verdict *verdict = actor->verdict;
    int rc;

    if (was_released(actor->deed, verdict)) {
        return;
    }
    actor->err.text[0] = '\0';
    actor->record = DEED_RECORD_REPEATED;
    rc = make_ctx(actor);
    rc = rc ? rc : await_watchers(actor);
    if (!rc) {
        rc = perform(actor, DEED_STOP);
        if (!rc && strcmp(actor->trace, "started ready exited") != 0) {
            rc = libspawn__fail(&actor->err, LIBSPAWN_ERR_CHILD,
                                "the events are '%s'", actor->trace);
        }
        forget_child(actor);
        rc = rc ? rc : await_watchers(actor);
    }
    verdict->repeated_rc = rc;
    memcpy(verdict->repeated, actor->err.text, sizeof verdict->repeated);
}

static void
act(const struct deed *deed, struct actor *actor)
{
    struct deed_verdict *verdict = actor->verdict;
    size_t n_fds = harness_count_fds(0);

    if (deed->before) {
        deed->before(deed->user);
    }
    verdict->rc = perform(actor, deed->kind);
    verdict->err = actor->err;
    if (deed->after) {
        deed->after(deed->user);
    }
    note_report(actor);
    forget_child(actor);
    if (deed->is_repeated) {
        repeat(actor);
    }
    libspawn_ctx_free(TAKE_PTR(actor->ctx));
    verdict->n_fds_left = (int)harness_count_fds(0) - (int)n_fds;
    if (deed->is_repeated && __lsan_do_recoverable_leak_check) {
        verdict->has_leaked = __lsan_do_recoverable_leak_check();
    }
}

static char *
store_address(const struct deed *deed)
{
    return deed->address
               ? strdup(deed->address)
               : libspawn__str_format("dir:%s/store", harness_dir());
}

static void
be_the_actor(const struct deed *deed, int fd)
{
    AUTO_FREE char *address = store_address(deed);
    static char watcher[4096];
    static struct deed_verdict verdict;
    struct actor actor = { .deed = deed,
                           .verdict = &verdict,
                           .record = DEED_RECORD };

    snprintf(watcher, sizeof watcher, "%s/bin/spawn-watcher%s",
             harness_build_dir(), deed->address ? "-xen" : "");
    actor.address = address;
    actor.watcher = deed->watcher ? deed->watcher : watcher;
    act(deed, &actor);
    libspawn__fd_write_full(fd, &verdict, sizeof verdict);
    _exit(0);
}

/* ---- Outside ----------------------------------------------------------- */

void
deed_begin(const struct deed *deed, struct deed_run *run)
{
    int fds[2];

    *run = (struct deed_run){ .deed = deed };
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    fflush(NULL);
    run->pid = fork();
    if (!run->pid) {
        close(fds[0]);
        be_the_actor(deed, fds[1]);
    }
    ck_assert_int_gt(run->pid, 0);
    close(fds[1]);
    run->fd = fds[0];
}

bool
deed_await(struct deed_run *run, int timeout_ms)
{
    struct pollfd pollfd = { .fd = run->fd, .events = POLLIN };
    int r;

    do {
        r = poll(&pollfd, 1, timeout_ms);
    } while (r < 0 && errno == EINTR);
    if (r <= 0) {
        return false;
    }
    run->is_told =
        libspawn__fd_read_full(run->fd, &run->verdict, sizeof run->verdict) ==
        (ssize_t)sizeof run->verdict;
    close(run->fd);
    while (waitpid(run->pid, &run->status, 0) < 0 && errno == EINTR) {
    }
    return true;
}

bool
deed_is_done(const struct deed_run *run)
{
    static const char *const traces[] = {
        [DEED_STOP] = "started ready exited",
        [DEED_FAIL] = "failed",
        [DEED_RELEASE] = "started ready",
    };
    const struct deed_verdict *verdict = &run->verdict;

    return run->is_told && !verdict->rc &&
           !strcmp(verdict->trace, traces[run->deed->kind]) &&
           (run->deed->kind != DEED_FAIL ||
            verdict->end == LIBSPAWN_END_NO_EXEC);
}

const char *
deed_name(enum deed_kind kind)
{
    static const char *const names[] = { "stop", "fail", "release" };

    return names[kind];
}

const char *
deed_describe(const struct deed_run *run)
{
    static char text[2048];
    const struct deed_verdict *verdict = &run->verdict;

    snprintf(text, sizeof text,
             "%s: %s: %s, status %#x, rc %d '%s', events '%s', end %d errno "
             "%d '%s', then %d '%s', %d descriptors left%s",
             run->note, deed_name(run->deed->kind),
             run->is_told ? "told" : "not told", (unsigned int)run->status,
             verdict->rc, verdict->rc ? verdict->err.text : "", verdict->trace,
             (int)verdict->end, verdict->sys_errno, verdict->sentence,
             verdict->repeated_rc,
             verdict->repeated_rc ? verdict->repeated : "",
             verdict->n_fds_left, verdict->has_leaked ? ", leaks" : "");
    return text;
}

/* ---- What is left ------------------------------------------------------ */

static bool
child_lives(struct libspawn__store *store)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn__record record;

    return !libspawn__record_read(store, DEED_RECORD, &record, NULL) &&
           !libspawn__pidref_open(&record.child, &ref, NULL);
}

/* But for the server, which is reaped by who started it. */
static bool
is_nobody_left(void *user)
{
    const struct deed_run *run = user;

    return harness_child_pids(NULL, 0) == (run->server ? 1 : 0);
}

static bool
await_nobody(struct deed_run *run, int timeout_ms)
{
    return run->server
               ? harness_wait_until(is_nobody_left, run, timeout_ms)
               : harness_wait_children(timeout_ms);
}

struct scene {
    struct deed_run *run;
    struct libspawn__store *store;
};

/* Settled: all processes are gone, or the child is free to live. */
static bool
is_settled(void *user)
{
    const struct scene *scene = user;
    struct libspawn__record record;

    return is_nobody_left(scene->run) ||
           (!libspawn__record_read(scene->store, DEED_RECORD, &record, NULL) &&
            record.state == LIBSPAWN__RECORD_RUNNING &&
            child_lives(scene->store));
}

/* The record that is left when the child is gone: as the library says, one
 * that was released leaves how it ended; no other leaves any. */
static void
look_at_record(struct deed_run *run, struct libspawn__store *store)
{
    struct libspawn__record record;
    struct libspawn_err err;
    int rc = libspawn__record_read(store, DEED_RECORD, &record, &err);

    if (rc != LIBSPAWN_ERR_NOT_FOUND) {
        assert_ok(rc, &err);
        ck_assert_msg(!child_lives(store), "an orphan: %s",
                      deed_describe(run));
        run->is_stale = !run->is_released &&
                        record.state != LIBSPAWN__RECORD_EXITED;
        assert_ok(libspawn__store_remove(store, NULL, DEED_RECORD, &err),
                  &err);
    }
}

void
deed_assert_clean(struct deed_run *run)
{
    AUTO_FREE char *address = store_address(run->deed);
    struct libspawn__store *store;
    struct scene scene = { .run = run };
    int gone_ms = GONE_MS * deed_slowness(run->deed);
    struct libspawn_err err;

    assert_ok(libspawn__store_open(address, &store, &err), &err);
    scene.store = store;
    ck_assert_msg(harness_wait_until(is_settled, &scene, gone_ms),
                  "something is left: %s", deed_describe(run));
    /* Without a verdict it may be on its way to its end. */
    run->is_released = was_released(run->deed, &run->verdict) &&
                       !await_nobody(run, run->is_told ? 0 : 1000);
    if (run->is_child_killed) {
        run->is_released = false;
    }
    if (run->is_released) {
        ck_assert_msg(child_lives(store), "the child was lost: %s",
                      deed_describe(run));
        assert_ok(libspawn__dm_end(store, DEED_RECORD, gone_ms, &err), &err);
    }
    ck_assert_msg(await_nobody(run, gone_ms), "a process is left: %s",
                  deed_describe(run));
    look_at_record(run, store);
    libspawn__store_close(store);
}

void
deed_clean_store(const char *address)
{
    static const char *const guests[] = { "/libxl/32001", "/libxl/32002" };
    struct libspawn__store *store;
    struct libspawn_err err;
    size_t i;

    assert_ok(libspawn__store_open(address, &store, &err), &err);
    for (i = 0; i < ARRAY_SIZE(guests); i++) {
        assert_ok(libspawn__store_discard(store, NULL, guests[i], &err), &err);
    }
    libspawn__store_close(store);
}

/* ---- Quick and full ---------------------------------------------------- */

bool
sweep_is_sanitized(void)
{
    return strstr(harness_build_dir(), "build/");
}

unsigned int
sweep_stride(unsigned int quick)
{
    return harness_is_full() ? 1 : quick;
}

void
sweep_print(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("sweep: ");
    vprintf(format, args);
    printf("\n");
    fflush(stdout);
    va_end(args);
}
