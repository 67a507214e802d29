/*
 * test-device-model: plays QEMU for what the real one cannot be made to do,
 * such as dying by a signal of choice, or never becoming ready.
 *
 * It takes QEMU's command line, becomes ready the ways QEMU does, speaks
 * enough of QMP, and misbehaves on request; options.h says how.  There is no
 * guest in it.  docs/man/test-device-model.1 is the manual; not for
 * production.
 *
 * The life of one:
 *
 *   report_write, then what it writes to stderr and leaves behind
 *        |
 *   the ending, if it is not to come after being ready
 *        |
 *   STARTING: --ready-after runs; QMP clients wait in the listener's queue
 *        |  become_ready
 *   READY: announced, QMP is served, --die-after runs
 *        |
 *   the ending, SIGTERM, or "quit"
 *
 * It never changes the disposition of a signal that can kill it by a fault,
 * and waits for SIGTERM, SIGINT, SIGHUP and SIGUSR1 by a signalfd.
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"
#include "loop/loop.h"
#include "tools/test-device-model/announce.h"
#include "tools/test-device-model/monitor.h"
#include "tools/test-device-model/options.h"
#include "tools/test-device-model/report.h"

enum { STATUS_FAILED = 1, STATUS_USAGE = 2 };

struct device_model {
    struct options options;
    struct machine machine;
    struct monitors *monitors;
    struct libspawn__loop *loop;
    struct libspawn__io signals;
    int signal_fd;
    struct libspawn__timer ready_timer;
    struct libspawn__timer ending_timer;
    struct libspawn__timer term_timer; /* of --slow-term */
    bool is_terminated; /* by a signal: the timer runs */
    bool is_done;
    int exit_status; /* when done */
};

static void
timer_start(struct libspawn__timer *timer, uint64_t ms)
{
    libspawn__timer_set(timer, libspawn__clock_now_ms() + (int64_t)ms);
}

/* ---- What it does when it starts ---------------------------------------- */

/* A failure is nobody's business: descriptor 2 may well be closed. */
static void
complain(const char *text)
{
    AUTO_FREE char *line = libspawn__str_format("%s\n", text);

    if (line) {
        (void)libspawn__fd_write_full(STDERR_FILENO, line, strlen(line));
    }
}

static void
make_noise(uint64_t size)
{
    enum { LINE_SIZE = 64 };

    uint64_t n_lines = 0;

    while (size) {
        char line[LINE_SIZE + 1];
        size_t part = (size_t)MIN(size, (uint64_t)LINE_SIZE);

        snprintf(line, sizeof line, "noise %-*llu\n", LINE_SIZE - 7,
                 (unsigned long long)++n_lines);
        line[part - 1] = '\n';
        if (libspawn__fd_write_full(STDERR_FILENO, line, part)) {
            return;
        }
        size -= part;
    }
}

static int
tell_pid(const char *path, pid_t pid, struct libspawn_err *err)
{
    AUTO_FREE char *text = libspawn__str_format("%d\n", (int)pid);

    if (!text) {
        return libspawn__fail_nomem(err);
    }
    return libspawn__file_replace(path, text, strlen(text), 0600, err);
}

/* The child is this program again.  It inherits all that is inheritable, the
 * pipe of the log among it, and ends after ten minutes should everybody forget
 * about it.  SIGTERM is blocked here already, so that it never gets one. */
static int
leave_child(const char *pid_path, struct libspawn_err *err)
{
    char name[] = "test-device-model";
    char ignore_term[] = "--ignore-term";
    char die_after[] = "--die-after=600000";
    char *argv[] = { name, ignore_term, die_after, NULL };
    posix_spawnattr_t attr;
    pid_t pid;
    int r;

    /* Or the child would leave one as well. */
    unsetenv(TDM_ENVIRONMENT);
    r = posix_spawnattr_init(&attr);
    if (r) {
        return libspawn__fail_errno(err, r, "leaving a child");
    }
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
    r = posix_spawn(&pid, "/proc/self/exe", NULL, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    if (r) {
        return libspawn__fail_errno(err, r, "leaving a child");
    }
    return pid_path ? tell_pid(pid_path, pid, err) : 0;
}

static int
begin(struct device_model *model, struct libspawn_err *err)
{
    const struct options *options = &model->options;
    size_t i;

    if (options->close_stdio) {
        close(STDIN_FILENO);
        close(STDOUT_FILENO);
        close(STDERR_FILENO);
    }
    for (i = 0; i < options->stderr_lines.n_items; i++) {
        complain(options->stderr_lines.items[i]);
    }
    make_noise(options->noise_size);
    if (options->fork_child) {
        return leave_child(options->fork_child_file, err);
    }
    return 0;
}

/* ---- How it ends -------------------------------------------------------- */

static void
finish(struct device_model *model, int exit_status)
{
    model->is_done = true;
    model->exit_status = exit_status;
}

/* By a signal, as if it had come from outside.  Comes back only if that
 * signal does not kill. */
static void
raise_by_default(int number)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, number);
    signal(number, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
}

static void
dump_core(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_CORE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_CORE, &limit);
    }
    raise_by_default(SIGABRT);
}

static void
end_as_asked(struct device_model *model)
{
    switch (model->options.ending) {
    case ENDING_NONE:
        break;
    case ENDING_EXIT:
        finish(model, model->options.ending_value);
        break;
    case ENDING_SIGNAL:
        raise_by_default(model->options.ending_value);
        break;
    case ENDING_CORE:
        dump_core();
        break;
    case ENDING_STOP:
        raise(SIGSTOP);
        break;
    }
}

static void
ending_due(struct libspawn__timer *timer)
{
    end_as_asked(CONTAINER_OF(timer, struct device_model, ending_timer));
}

static void
term_due(struct libspawn__timer *timer)
{
    struct device_model *model =
        CONTAINER_OF(timer, struct device_model, term_timer);

    machine_announce_term(&model->machine);
    finish(model, 0);
}

static void
quit(void *user)
{
    finish(user, 0);
}

static void
send_event(void *user, const char *line)
{
    struct device_model *model = user;

    monitors_send_event(model->monitors, line);
}

static void
signal_came(struct libspawn__io *io, uint32_t events)
{
    struct device_model *model =
        CONTAINER_OF(io, struct device_model, signals);
    struct signalfd_siginfo info;

    (void)events;
    if (read(io->fd, &info, sizeof info) != (ssize_t)sizeof info) {
        return;
    }
    if (info.ssi_signo == SIGUSR1) {
        monitors_hang_up(model->monitors);
        return;
    }
    if (model->options.ignore_term || model->is_terminated) {
        return;
    }
    model->is_terminated = true;
    timer_start(&model->term_timer, model->options.slow_term_ms);
}

/* ---- How it becomes ready ----------------------------------------------- */

static void
become_ready(struct libspawn__timer *timer)
{
    struct device_model *model =
        CONTAINER_OF(timer, struct device_model, ready_timer);
    const struct options *options = &model->options;
    struct libspawn_err err;

    if (monitors_serve(model->monitors, &err) ||
        announce_ready(options, &err)) {
        complain(err.text);
        finish(model, STATUS_FAILED);
        return;
    }
    if (options->ends_after_ready) {
        timer_start(&model->ending_timer, options->die_after_ms);
    }
}

/* ---- The whole ---------------------------------------------------------- */

/* Before anything else, so that a signal that comes early is not lost. */
static int
open_signals(struct device_model *model, struct libspawn_err *err)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    model->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (model->signal_fd < 0) {
        return libspawn__fail_errno(err, errno, "waiting for signals");
    }
    return 0;
}

static int
open_loop(struct device_model *model, struct libspawn_err *err)
{
    const struct options *options = &model->options;
    const struct machine_callbacks callbacks = { .event = send_event,
                                                 .quit = quit,
                                                 .user = model };
    int rc = libspawn__loop_new(&model->loop, err);

    if (rc) {
        return rc;
    }
    machine_init(&model->machine, options, &callbacks);
    libspawn__timer_init(model->loop, &model->ready_timer, become_ready);
    libspawn__timer_init(model->loop, &model->ending_timer, ending_due);
    libspawn__timer_init(model->loop, &model->term_timer, term_due);
    if (!options->never_ready) {
        timer_start(&model->ready_timer, options->ready_after_ms);
    }
    rc = libspawn__io_add(model->loop, &model->signals, model->signal_fd,
                          EPOLLIN, signal_came, err);
    return rc ? rc
              : monitors_open(model->loop, options, &model->machine,
                              &model->monitors, err);
}

static void
close_loop(struct device_model *model)
{
    if (!model->loop) {
        return;
    }
    libspawn__timer_cancel(&model->ready_timer);
    libspawn__timer_cancel(&model->ending_timer);
    libspawn__timer_cancel(&model->term_timer);
    libspawn__io_remove(&model->signals);
    monitors_close(TAKE_PTR(model->monitors));
    libspawn__loop_free(TAKE_PTR(model->loop));
}

static int
live(struct device_model *model, struct libspawn_err *err)
{
    int rc = open_signals(model, err);

    if (!rc) {
        rc = begin(model, err);
    }
    if (!rc && !model->options.ends_after_ready) {
        end_as_asked(model);
    }
    if (!rc && !model->is_done) {
        rc = open_loop(model, err);
    }
    while (!rc && !model->is_done) {
        rc = libspawn__loop_wait(model->loop, -1, err);
    }
    return rc;
}

static bool
print_something(const struct options *options)
{
    if (options->help) {
        options_print_help();
    } else if (options->version) {
        printf("test-device-model %s\n", LIBSPAWN_VERSION);
    } else if (options->qemu_version) {
        printf("QEMU emulator version 7.2.0 (test-device-model %s)\n",
               LIBSPAWN_VERSION);
    } else {
        return false;
    }
    return true;
}

int
main(int argc, char **argv)
{
    struct device_model model = { .signal_fd = -1 };
    struct libspawn_err err;
    int rc = options_parse(&model.options, argv, &err);

    (void)argc;
    if (rc) {
        complain(err.text);
        options_dispose(&model.options);
        return STATUS_USAGE;
    }
    if (print_something(&model.options)) {
        options_dispose(&model.options);
        return 0;
    }
    if (model.options.report_fds) {
        rc = report_write(model.options.report_fds, argv, &err);
    }
    if (!rc) {
        rc = live(&model, &err);
    }
    if (rc) {
        complain(err.text);
        model.exit_status = STATUS_FAILED;
    }
    close_loop(&model);
    libspawn__auto_close(&model.signal_fd);
    options_dispose(&model.options);
    return model.exit_status;
}
