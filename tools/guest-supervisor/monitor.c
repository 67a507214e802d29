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
#include "base/fd.h"
#include "base/signals.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/host.h"
#include "guest/supervised.h"
#include "proc/daemon.h"
#include "proc/pidfile.h"
#include "proc/status.h"
#include "tools/guest-supervisor/failure.h"
#include "wire/json.h"

struct monitor {
    const struct monitor_plan *plan;
    struct libspawn__loop *loop;
    struct libspawn__daemon daemon; /* what we are to our starter */
    char *label;
    struct libspawn_host host; /* not opened: where its files are */
    struct libspawn__pidfile pidfile; /* no path: there is another of us */

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

static bool
is_restarting(const struct monitor *m)
{
    return m->pidfile.path && !m->is_leaving;
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
    if (is_crash(status) && is_restarting(m)) {
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
 * for one that is to have no supervisor finds that out.  After one that died
 * for sure there may be a pause. */
static void
follow_end(struct monitor *m)
{
    bool has_left = libspawn__supervised_has_left(&m->host, m->plan->name);

    forget_child(m);
    if (m->is_leaving) {
        leave(m, has_left ? 0 : 1);
        return;
    }
    if (has_left) {
        m->restart_at = 0;
    }
    plan_restart(m, false, 0);
}

static void
on_other_end(struct libspawn__io *io, uint32_t events)
{
    struct monitor *m = CONTAINER_OF(io, struct monitor, child_io);

    (void)events;
    if (libspawn__pidref_has_ended(&m->child)) {
        follow_end(m);
    }
}

/* Any command of xl brings one for a guest that has lost its own, and may be
 * quicker than we are. */
static void
watch_other(struct monitor *m)
{
    int rc = libspawn__supervised_find(&m->host, m->plan->name, &m->child,
                                       NULL);

    if (!rc) {
        rc = libspawn__io_add(m->loop, &m->child_io, m->child.fd, EPOLLIN,
                              on_other_end, NULL);
    }
    if (rc) {
        follow_end(m); /* it has just ended, mostly */
    } else {
        m->is_other = true;
    }
}

/* Of its failure, as it said it; 0: it could not. */
static int
find_code(const struct libspawn__daemon_verdict *verdict)
{
    AUTO_JSON struct libspawn__json *said = NULL;
    int64_t code = 0;

    if (verdict->text &&
        !libspawn__json_parse(verdict->text, strlen(verdict->text),
                              LIBSPAWN__DAEMON_TEXT_MAX, &said, NULL)) {
        libspawn__json_integer(libspawn__json_member(said, "code"), &code);
    }
    return (int)code;
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

/* What it said itself or, where that is nothing, what is to be seen of it: a
 * process further out would see but our own exit status. */
static void
pass_failure_on(struct monitor *m,
                const struct libspawn__daemon_verdict *verdict)
{
    AUTO_FREE char *text = verdict->text
                               ? strdup(verdict->text)
                               : failure_to_json(NULL, &verdict->err);

    libspawn__daemon_fail(&m->daemon, text);
    leave(m, verdict->exit_status);
}

/* Whoever crashes on the way up the first time is not started again.  A guest
 * that is gone, or is to have no supervisor any more, needs none of us. */
static void
take_failure(struct monitor *m, const struct libspawn__daemon_verdict *verdict)
{
    int signal = verdict->exit_status - LIBSPAWN__DAEMON_EXIT_SIGNAL_BASE;
    int code = find_code(verdict);

    if (!m->death || m->is_leaving) {
        pass_failure_on(m, verdict);
    } else if (signal > 0 && is_crash(signal)) {
        plan_restart(m, true, signal);
    } else if (code == LIBSPAWN_ERR_EXISTS) {
        watch_other(m);
    } else if (code == LIBSPAWN_ERR_NOT_FOUND) {
        leave(m, 0);
    } else {
        pass_failure_on(m, verdict);
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
    AUTO_FREE char *control = libspawn__str_format(
        "--control=%s", plan->control ? plan->control : "");
    const char *options[5] = { NULL };
    size_t n_options = 0;
    AUTO_STRV struct libspawn__strv argv = { 0 };
    AUTO_FREE char *path = NULL;
    struct libspawn__daemon_plan daemon_plan = { .label = m->label,
                                                 .envp = environ };
    int rc;

    if (!lost || !control) {
        return libspawn__fail_nomem(err);
    }
    options[n_options++] = "--monitored";
    if (m->death) {
        options[n_options++] = "--again";
        options[n_options++] = lost;
    } else if (plan->is_adopting) {
        options[n_options++] = "--adopt";
    }
    if (!m->death && plan->control) {
        options[n_options++] = control;
    }
    rc = libspawn__supervised_command(m->host.state_dir, options, plan->name,
                                      &path, &argv, err);
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
    } else if (m->child.fd >= 0) {
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

/* ---- Being the only one ------------------------------------------------ */

/* What is in the way of a pid file is in that of a supervisor, too, which can
 * say it better. */
static int
take_identity(struct monitor *m, struct libspawn_err *err)
{
    AUTO_FREE char *dir = NULL;
    AUTO_FREE char *path = NULL;
    int rc = libspawn__host_make_state_dir(m->plan->state_dir,
                                           &m->host.state_dir, err);

    if (rc) {
        return rc;
    }
    dir = libspawn__supervised_dir(&m->host);
    path = libspawn__supervised_monitor_path(&m->host, m->plan->name);
    if (!dir || !path) {
        return libspawn__fail_nomem(err);
    }
    if (!libspawn__dir_make(dir, 0700, NULL)) {
        libspawn__pidfile_take(&m->pidfile, path, NULL, NULL);
    }
    return 0;
}

/* Nobody needs two that wait for the same supervisor. */
static int
begin(struct monitor *m, struct libspawn_err *err)
{
    int rc = take_identity(m, err);

    if (rc || !m->plan->is_again) {
        return rc ? rc : start(m, err);
    }
    if (m->pidfile.path) {
        watch_other(m);
    } else {
        leave(m, 0);
    }
    return 0;
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
        rc = begin(m, err);
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
                         .pidfile = LIBSPAWN__PIDFILE_INIT,
                         .child = LIBSPAWN__PIDREF_INIT,
                         .signal_fd = -1 };
    struct libspawn_err err;

    if (run(&m, &err)) {
        AUTO_FREE char *text = failure_to_json(NULL, &err);

        if (m.daemon.fd < 0) {
            fprintf(stderr, "guest-supervisor: %s\n", err.text);
        }
        libspawn__daemon_fail(&m.daemon, text);
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
    libspawn__pidfile_remove(&m.pidfile);
    free(m.host.state_dir);
    free(m.label);
    free(m.death);
    return m.status;
}
