#include "tools/guest-supervisor/monitor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/pidref.h"
#include "base/signals.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/host.h"
#include "guest/supervised.h"
#include "proc/daemon.h"
#include "proc/status.h"
#include "wire/json.h"

struct monitor {
    const struct monitor_plan *plan;
    struct libspawn__loop *loop;
    struct libspawn__daemon daemon; /* what we are to our starter */
    char *label;

    struct libspawn__starter *starter; /* of the child; NULL: it is ready */
    struct libspawn__pidref child;     /* once it is ready; pid 0: none */
    struct libspawn__io child_io;
    bool is_other;                /* it is not ours: somebody was quicker */
    int64_t restart_at;           /* not before, if it crashes */
    struct libspawn__timer timer; /* the next start */
    char *death;                  /* of the one before; NULL: there was none */

    int signal_fd;
    struct libspawn__io signal_io;
    bool is_leaving; /* nobody is to be started any more */
    bool is_done;
    int status;
};

static void
leave(struct monitor *m, int status)
{
    m->is_done = true;
    m->status = status;
}

/* ---- The child, once it is ready --------------------------------------- */

/* Signals by which programs crash, as Open vSwitch's monitor has them; and
 * the one by which the kernel ends whoever is in the way when it is out of
 * memory. */
static bool
is_crash(int status)
{
    static const int signals[] = { SIGABRT, SIGALRM, SIGBUS,  SIGFPE,
                                   SIGILL,  SIGKILL, SIGPIPE, SIGSEGV,
                                   SIGSYS,  SIGTRAP, SIGXCPU, SIGXFSZ };
    size_t i;

    for (i = 0; WIFSIGNALED(status) && i < ARRAY_SIZE(signals); i++) {
        if (WTERMSIG(status) == signals[i]) {
            return true;
        }
    }
    return false;
}

/* One that crashes all the time is not started all the time. */
static void
plan_restart(struct monitor *m, bool is_known, int status)
{
    char text[LIBSPAWN__STATUS_TEXT_SIZE];

    libspawn__status_describe(is_known, status, text);
    libspawn__str_assign(&m->death, text, NULL);
    libspawn__timer_set(&m->timer,
                        MAX(libspawn__clock_now_ms(), m->restart_at));
}

static void
forget_child(struct monitor *m)
{
    libspawn__io_remove(&m->child_io);
    libspawn__pidref_dispose(&m->child);
    m->child = (struct libspawn__pidref)LIBSPAWN__PIDREF_INIT;
    m->is_other = false;
}

static void
on_child_end(struct libspawn__io *io, uint32_t events)
{
    struct monitor *m = CONTAINER_OF(io, struct monitor, child_io);
    int status;

    (void)events;
    if (!libspawn__pidref_has_ended(&m->child) ||
        waitpid(m->child.id.pid, &status, WNOHANG) <= 0) {
        return;
    }
    forget_child(m);
    if (is_crash(status) && !m->is_leaving) {
        plan_restart(m, true, status);
    } else {
        leave(m, libspawn__status_exit_code(status));
    }
}

static int
watch_child(struct monitor *m, pid_t pid, struct libspawn_err *err)
{
    int rc = libspawn__pidref_of_child(pid, &m->child, err);

    return rc ? rc
              : libspawn__io_add(m->loop, &m->child_io, m->child.fd, EPOLLIN,
                                 on_child_end, err);
}

/* ---- One that somebody else started ------------------------------------ */

/* Whether it left or died, only the guest can tell: whoever is started again
 * for one that is to have no supervisor finds that out. */
static void
on_other_end(struct libspawn__io *io, uint32_t events)
{
    struct monitor *m = CONTAINER_OF(io, struct monitor, child_io);

    (void)events;
    if (libspawn__pidref_has_ended(&m->child)) {
        forget_child(m);
        plan_restart(m, false, 0);
    }
}

/* Any command of xl brings one for a guest that has lost its own, and may be
 * quicker than we are. */
static int
watch_other(struct monitor *m, struct libspawn_err *err)
{
    struct libspawn_host host = { .state_dir = NULL };
    int rc = libspawn__host_find_state_dir(m->plan->state_dir, &host.state_dir,
                                           err);

    if (!rc) {
        rc = libspawn__supervised_find(&host, m->plan->name, &m->child, err);
    }
    if (!rc) {
        m->is_other = true;
        rc = libspawn__io_add(m->loop, &m->child_io, m->child.fd, EPOLLIN,
                              on_other_end, err);
    }
    free(host.state_dir);
    return rc;
}

static bool
is_taken(const struct libspawn__daemon_verdict *verdict)
{
    AUTO_JSON struct libspawn__json *said = NULL;
    int64_t code = 0;

    return verdict->text &&
           !libspawn__json_parse(verdict->text, strlen(verdict->text),
                                 LIBSPAWN__DAEMON_TEXT_MAX, &said, NULL) &&
           libspawn__json_integer(libspawn__json_member(said, "code"),
                                  &code) &&
           code == LIBSPAWN_ERR_EXISTS;
}

/* ---- Its start --------------------------------------------------------- */

static void
on_stage(void *user, const char *stage)
{
    struct monitor *m = user;

    libspawn__daemon_set_stage(&m->daemon, stage);
}

static void
on_said(void *user, const char *text, int fd)
{
    struct monitor *m = user;

    libspawn__daemon_say(&m->daemon, text, fd);
}

/* What is to be seen of it from outside, where it said nothing itself: a
 * process further out would see but our own exit status. */
static char *
describe(const struct libspawn__daemon_verdict *verdict)
{
    struct libspawn__json_writer *w;

    if (verdict->text) {
        return strdup(verdict->text);
    }
    w = libspawn__json_writer_new(false);
    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_integer(w, "code", verdict->err.code);
    libspawn__json_put_string(w, "message", verdict->err.text);
    libspawn__json_end_object(w);
    return libspawn__json_writer_take(w);
}

/* Whoever crashes on the way up the first time is not started again. */
static void
take_failure(struct monitor *m, const struct libspawn__daemon_verdict *verdict)
{
    AUTO_FREE char *text = describe(verdict);
    int signal = verdict->exit_status - LIBSPAWN__DAEMON_EXIT_SIGNAL_BASE;

    if (m->death && signal > 0 && is_crash(signal) && !m->is_leaving) {
        plan_restart(m, true, signal);
    } else if (m->death && is_taken(verdict) && !m->is_leaving) {
        if (watch_other(m, NULL)) {
            forget_child(m);
            plan_restart(m, false, 0); /* it has just ended, mostly */
        }
    } else {
        libspawn__daemon_fail(&m->daemon, text);
        leave(m, verdict->exit_status);
    }
}

static void
take_child(struct monitor *m, const struct libspawn__daemon_verdict *verdict)
{
    struct libspawn_err err;
    int rc = watch_child(m, verdict->pid, &err);

    if (!rc) {
        rc = libspawn__daemon_complete(&m->daemon, verdict->text, &err);
    }
    if (rc && m->plan->is_adopting) {
        libspawn__pidref_signal(&m->child, SIGTERM, NULL);
        leave(m, 1);
    } else if (rc) {
        leave(m, MONITOR_UNWANTED); /* its starter waits no more */
    } else if (m->is_leaving) {
        libspawn__pidref_signal(&m->child, SIGTERM, NULL);
    }
}

static void
on_done(void *user, const struct libspawn__daemon_verdict *verdict)
{
    struct monitor *m = user;
    struct libspawn__starter *starter = m->starter;

    m->starter = NULL;
    if (verdict->is_ready) {
        take_child(m, verdict);
    } else {
        take_failure(m, verdict);
    }
    libspawn__starter_free(starter);
}

/* After the first there is a guest to be taken over. */
static int
start(struct monitor *m, struct libspawn_err *err)
{
    const struct libspawn__starter_callbacks callbacks = {
        .stage = on_stage, .said = on_said, .done = on_done, .user = m
    };
    const struct monitor_plan *plan = m->plan;
    AUTO_FREE char *lost =
        libspawn__str_format("--lost=%s", m->death ? m->death : "");
    const char *const options[] = {
        m->death            ? "--again"
        : plan->is_adopting ? "--adopt"
                            : NULL,
        m->death ? lost : NULL,
        NULL,
    };
    AUTO_STRV struct libspawn__strv argv = { 0 };
    AUTO_FREE char *path = NULL;
    struct libspawn__daemon_plan daemon_plan = { .label = m->label,
                                                 .envp = environ };
    int rc = lost ? libspawn__supervised_command(plan->state_dir, options,
                                                 plan->name, &path, &argv, err)
                  : libspawn__fail_nomem(err);

    if (rc) {
        return rc;
    }
    daemon_plan.path = path;
    daemon_plan.argv = argv.items;
    return libspawn__daemon_start(m->loop, &daemon_plan, &callbacks,
                                  &m->starter, err);
}

/* A host without room for a process may have some later. */
static void
on_timer(struct libspawn__timer *timer)
{
    struct monitor *m = CONTAINER_OF(timer, struct monitor, timer);

    m->restart_at = libspawn__clock_now_ms() + m->plan->restart_ms;
    if (start(m, NULL)) {
        libspawn__timer_set(timer, m->restart_at);
    }
}

/* ---- Whoever started us ------------------------------------------------ */

static void
on_told(struct libspawn__daemon *daemon, const char *text, int fd)
{
    struct monitor *m = CONTAINER_OF(daemon, struct monitor, daemon);
    AUTO_FD int owned = fd;

    if (!m->starter) {
        return;
    }
    if (text) {
        /* If it is gone, its verdict says why. */
        libspawn__daemon_tell(m->starter, text, owned, NULL);
    } else {
        m->is_leaving = true;
        libspawn__daemon_abort(m->starter);
    }
}

/* ---- Signals ----------------------------------------------------------- */

/* What is meant for the supervisor. */
static void
on_signal(struct libspawn__io *io, uint32_t events)
{
    struct monitor *m = CONTAINER_OF(io, struct monitor, signal_io);
    int number = libspawn__signals_read(m->signal_fd);

    (void)events;
    if (!number) {
        return;
    }
    m->is_leaving = true;
    if (m->starter) {
        libspawn__daemon_abort(m->starter);
    } else if (m->child.fd >= 0 && !m->is_other) {
        libspawn__pidref_signal(&m->child, SIGTERM, NULL);
    } else {
        leave(m, LIBSPAWN__DAEMON_EXIT_SIGNAL_BASE + number);
    }
}

static int
catch_signals(struct monitor *m, struct libspawn_err *err)
{
    m->signal_fd = libspawn__signals_open();
    return m->signal_fd < 0
               ? libspawn__fail_errno(err, errno, "waiting for signals")
               : libspawn__io_add(m->loop, &m->signal_io, m->signal_fd,
                                  EPOLLIN, on_signal, err);
}

/* ---- The whole --------------------------------------------------------- */

static int
run(struct monitor *m, struct libspawn_err *err)
{
    int rc;

    m->label = libspawn__str_format("supervisor of guest '%s'", m->plan->name);
    rc = m->label ? libspawn__loop_new(&m->loop, err)
                  : libspawn__fail_nomem(err);
    if (rc) {
        return rc;
    }
    libspawn__timer_init(m->loop, &m->timer, on_timer);
    rc = catch_signals(m, err);
    if (!rc) {
        rc = libspawn__daemon_enter(&m->daemon, m->loop, on_told, err);
    }
    if (!rc) {
        rc = start(m, err);
    }
    while (!rc && !m->is_done) {
        rc = libspawn__loop_wait(m->loop, -1, err);
    }
    return rc;
}

int
monitor_run(const struct monitor_plan *plan)
{
    struct monitor m = { .plan = plan,
                         .daemon = { .fd = -1 },
                         .child = LIBSPAWN__PIDREF_INIT,
                         .signal_fd = -1 };
    struct libspawn_err err;

    if (run(&m, &err)) {
        fprintf(stderr, "guest-supervisor: %s\n", err.text);
        m.status = libspawn__code_exit_status(err.code);
    }
    libspawn__starter_free(m.starter);
    forget_child(&m);
    libspawn__io_remove(&m.signal_io);
    libspawn__auto_close(&m.signal_fd);
    libspawn__daemon_dispose(&m.daemon);
    if (m.loop) {
        libspawn__timer_cancel(&m.timer);
    }
    libspawn__loop_free(m.loop);
    free(m.label);
    free(m.death);
    return m.status;
}
