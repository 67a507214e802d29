/*
 * guest-supervisor: the daemon that `xl create` leaves behind for each guest.
 * See guest-supervisor(8).
 *
 *   told what to do -> the host -> its pid file and control socket ->
 *   the guest created -> admitted: ready -> supervises it for life
 *
 * This file is what makes a daemon of service/supervisor.h: options, signals,
 * and what is said to whoever started it (docs/PROTOCOLS.md, "Daemon start").
 */
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/signals.h"
#include "base/str.h"
#include "base/util.h"
#include "proc/ctx.h"
#include "proc/daemon.h"
#include "service/supervisor.h"
#include "tools/guest-supervisor/failure.h"
#include "tools/guest-supervisor/monitor.h"
#include "wire/json.h"

enum {
    CONFIG_MAX_SIZE = 1024 * 1024,
    MONITOR_RESTART_MS = 10000
};

struct run {
    struct libspawn_ctx *ctx;
    struct libspawn_host *host;
    struct libspawn__daemon daemon;
    struct libspawn__supervisor *supervisor;
    struct libspawn_guest_config config;
    struct libspawn__admission_times times;

    char *state_dir; /* NULL: default */
    char *name;      /* of the guest */
    const char *controls[LIBSPAWN__SUPERVISOR_DOORS_MAX + 1];
    bool is_adopting;
    struct libspawn__supervisor_adoption adoption;
    struct libspawn__handover handover; /* from our program before */
    bool is_monitor;   /* this process looks after the one that supervises */
    bool is_monitored; /* such a process started this one */
    bool is_paused;
    bool has_console; /* its descriptor is to be handed over */
    bool has_starter; /* somebody waits for our verdict */

    int signal_fd;
    struct libspawn__io signal_io;
    int signal; /* that ended the start; 0: none */
    bool is_done;
    int status; /* what to exit with */
};

/* ---- What the starter hears -------------------------------------------- */

static void
say(struct run *run, const char *key, const char *value)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);
    AUTO_FREE char *text = NULL;

    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_string(w, key, value);
    libspawn__json_end_object(w);
    text = libspawn__json_writer_take(w);
    if (text) {
        libspawn__daemon_say(&run->daemon, text, -1);
    }
}

static void
fail(struct run *run, const struct libspawn_report *report,
     const struct libspawn_err *err)
{
    AUTO_FREE char *text = failure_to_json(report, err);

    run->status = run->signal ? LIBSPAWN__DAEMON_EXIT_SIGNAL_BASE + run->signal
                  : report    ? libspawn_report_exit_status(report)
                              : libspawn__code_exit_status(err->code);
    run->is_done = true;
    if (!run->has_starter) {
        fprintf(stderr, "guest-supervisor: %s\n", err->text);
    }
    libspawn__daemon_fail(&run->daemon, text);
}

/* ---- The supervisor's events ------------------------------------------- */

static void
on_step(void *user, const char *step)
{
    struct run *run = user;

    libspawn__daemon_set_stage(&run->daemon, step);
}

static void
on_warned(void *user, const char *sentence)
{
    const struct run *run = user;

    if (run->has_starter) {
        say(user, "warning", sentence);
    } else {
        fprintf(stderr, "guest-supervisor: warning: %s\n", sentence);
    }
}

/* Before the guest runs, so that not a byte of its greeting is missed. */
static int
on_created(void *user, uint32_t domid, struct libspawn_err *err)
{
    struct run *run = user;
    AUTO_FD int fd = -1;
    int rc = 0;

    if (run->has_console) {
        rc = libspawn_guest_open_console(run->host, domid, NULL, 0, &fd, err);
        if (!rc) {
            libspawn__daemon_say(&run->daemon, "{\"console\":true}", fd);
        }
    }
    return rc;
}

static bool
is_unwanted(void *user)
{
    struct run *run = user;
    struct pollfd fd = { .fd = run->daemon.fd, .events = POLLRDHUP };

    return run->daemon.fd >= 0 && poll(&fd, 1, 0) > 0;
}

/* Whoever waited is gone: then nobody wanted the guest to the end. */
static void
on_admitted(void *user, uint32_t domid)
{
    struct run *run = user;
    AUTO_FREE char *text =
        libspawn__str_format("{\"domid\":%u}", (unsigned int)domid);
    struct libspawn_err err;

    if (libspawn__daemon_complete(&run->daemon, text, &err)) {
        run->status = 1;
        libspawn__supervisor_discard(run->supervisor);
    }
}

static void
on_failed(void *user, const struct libspawn_report *report,
          const struct libspawn_err *err)
{
    fail(user, report, err);
}

static void
on_left(void *user)
{
    struct run *run = user;

    run->is_done = true;
}

static const struct libspawn__supervisor_callbacks callbacks = {
    .step = on_step,
    .warned = on_warned,
    .created = on_created,
    .is_unwanted = is_unwanted,
    .admitted = on_admitted,
    .failed = on_failed,
    .left = on_left,
};

/* ---- Starting ---------------------------------------------------------- */

/* Where the loop does not turn meanwhile: whether it would have something to
 * hear, which is an order to leave. */
static int
on_waiting(void *user, int64_t waited_ms, const char *sentence)
{
    struct run *run = user;
    struct pollfd fds[] = {
        { .fd = run->daemon.fd, .events = POLLIN },
        { .fd = run->signal_fd, .events = POLLIN },
    };

    /* First, since an order may follow at once upon the words, and on the loop
     * it is heard better than here. */
    bool has_something = poll(fds, ARRAY_SIZE(fds), 0) > 0;

    (void)waited_ms;
    if (sentence) {
        say(run, "waiting", sentence);
    }
    return has_something;
}

static int
open_host(struct run *run, struct libspawn_err *err)
{
    const struct libspawn_host_options options = {
        .state_dir = run->state_dir,
        .next_guest = run->is_adopting ? NULL : run->config.name,
        .waiting = on_waiting,
        .waiting_user = run,
        .warning = on_warned,
        .warning_user = run,
    };

    return libspawn_host_open(run->ctx, &options, &run->host, err);
}

static int
make_supervisor(struct run *run, struct libspawn_err *err)
{
    struct libspawn__supervisor_callbacks ours = callbacks;
    const struct libspawn__supervisor_options options = {
        .times = &run->times,
        .callbacks = &ours,
        .handover = run->handover.state ? &run->handover : NULL,
        .controls = run->controls,
    };

    ours.user = run;
    libspawn__daemon_set_stage(&run->daemon, "becoming its supervisor");
    return libspawn__supervisor_new(run->host, &run->config, &options,
                                    &run->supervisor, err);
}

static int
create(struct run *run, struct libspawn_err *err)
{
    int rc;

    libspawn__daemon_set_stage(&run->daemon, "opening the host");
    rc = open_host(run, err);
    if (!rc) {
        rc = make_supervisor(run, err);
    }
    return rc ? rc
              : libspawn__supervisor_create(run->supervisor, run->is_paused,
                                            run->is_monitored, err);
}

/* A monitor that hangs up asks us to leave, unless it is dead: then there will
 * be another. */
static int
complete_adoption(struct run *run, struct libspawn_err *err)
{
    int rc = libspawn__daemon_complete(&run->daemon, NULL, err);

    if (rc == LIBSPAWN_ERR_GONE && run->is_monitored &&
        !libspawn__supervisor_has_monitor(run->supervisor)) {
        libspawn__daemon_dispose(&run->daemon);
        rc = 0;
    }
    return rc;
}

static int
adopt(struct run *run, struct libspawn_err *err)
{
    uint32_t domid;
    int rc = open_host(run, err);

    if (!rc) {
        rc = libspawn_guest_find(run->host, run->name, &domid, err);
    }
    if (!rc) {
        rc = libspawn_guest_get_config(run->host, domid, &run->config, err);
    }
    if (!rc) {
        rc = make_supervisor(run, err);
    }
    if (!rc) {
        rc = run->handover.state
                 ? libspawn__supervisor_resume(run->supervisor, domid,
                                               &run->handover, err)
                 : libspawn__supervisor_adopt(run->supervisor, domid,
                                              &run->adoption, err);
    }
    return rc ? rc : complete_adoption(run, err);
}

/* ---- What the starter says --------------------------------------------- */

static int
read_order(struct run *run, const char *text, int config_fd,
           struct libspawn_err *err)
{
    AUTO_JSON struct libspawn__json *order = NULL;
    AUTO_FREE char *path = libspawn__str_format("/proc/self/fd/%d", config_fd);
    AUTO_FREE char *config = NULL;
    int rc = libspawn__json_parse(text, strlen(text),
                                  LIBSPAWN__DAEMON_TEXT_MAX, &order, err);

    if (rc) {
        return rc;
    }
    run->is_paused =
        libspawn__json_bool(libspawn__json_member(order, "paused"), false);
    run->has_console =
        libspawn__json_bool(libspawn__json_member(order, "console"), false);
    rc = path ? libspawn__file_read(path, CONFIG_MAX_SIZE, &config, NULL, err)
              : libspawn__fail_nomem(err);
    return rc ? rc
              : libspawn_guest_config_from_json(config, &run->config, err);
}

static void
on_told(struct libspawn__daemon *daemon, const char *text, int fd)
{
    struct run *run = CONTAINER_OF(daemon, struct run, daemon);
    AUTO_FD int config_fd = fd;
    struct libspawn_err err;
    int rc;

    if (!text && run->supervisor) {
        libspawn__supervisor_abort(run->supervisor);
        return;
    }
    if (!text) {
        run->is_done = true;
        run->status = 1;
        return;
    }
    rc = read_order(run, text, config_fd, &err);
    if (!rc) {
        rc = create(run, &err);
    }
    if (rc) {
        fail(run, NULL, &err);
    }
}

/* ---- Signals ----------------------------------------------------------- */

/* The guest stays; one that is being created is undone. */
static void
on_signal(struct libspawn__io *io, uint32_t events)
{
    struct run *run = CONTAINER_OF(io, struct run, signal_io);
    int number = libspawn__signals_read(run->signal_fd);

    (void)events;
    if (!number) {
        return;
    }
    if (!run->supervisor) {
        run->is_done = true;
        run->status = LIBSPAWN__DAEMON_EXIT_SIGNAL_BASE + number;
    } else if (run->supervisor->create && !run->supervisor->is_again) {
        run->signal = number;
        libspawn__supervisor_abort(run->supervisor);
    } else {
        libspawn__supervisor_leave(run->supervisor);
    }
}

static int
catch_signals(struct run *run, struct libspawn_err *err)
{
    run->signal_fd = libspawn__signals_open();
    if (run->signal_fd < 0) {
        return libspawn__fail_errno(err, errno, "waiting for signals");
    }
    return libspawn__io_add(run->ctx->loop, &run->signal_io, run->signal_fd,
                            EPOLLIN, on_signal, err);
}

/* ---- Options ----------------------------------------------------------- */

static void
print_usage(FILE *out)
{
    fputs("usage: guest-supervisor [--monitor] [--state-dir=DIRECTORY] "
          "[--control=NAME]... GUEST\n"
          "       guest-supervisor [--monitor] [--state-dir=DIRECTORY] "
          "[--control=NAME]... --adopt|--again GUEST\n"
          "       guest-supervisor --print-states\n"
          "The first is how xl starts it.  See guest-supervisor(8).\n",
          out);
}

static int
print_states(void)
{
    AUTO_FREE char *picture = libspawn__states_picture();

    return picture && fputs(picture, stdout) >= 0 && !fflush(stdout) ? 0 : 1;
}

/* Tests do not wait for half a minute. */
static void
scale_times(struct libspawn__admission_times *times)
{
    int64_t *const all[] = {
        &times->admit_after,  &times->probe_every, &times->backoff_min,
        &times->backoff_max,  &times->hold_limit,  &times->still_holding,
        &times->script_limit, &times->restart_unit, &times->healthy,
    };
    size_t i;

    *times = libspawn__admission_times;
    for (i = 0; i < ARRAY_SIZE(all); i++) {
        *all[i] /= libspawn__clock_scale();
    }
}

/* With its supervisor. */
static void
destroy_unwanted(const struct run *run)
{
    const struct libspawn_host_options options = { .state_dir =
                                                       run->state_dir };
    struct libspawn_host *host = NULL;
    struct libspawn_ctx *ctx = NULL;
    uint32_t domid;

    if (!libspawn_ctx_new(NULL, &ctx, NULL) &&
        !libspawn_host_open(ctx, &options, &host, NULL) &&
        !libspawn_guest_find(host, run->name, &domid, NULL)) {
        libspawn_guest_destroy(host, domid, NULL);
    }
    libspawn_host_close(host);
    libspawn_ctx_free(ctx);
}

static int
monitor(const struct run *run)
{
    const struct monitor_plan plan = {
        .state_dir = run->state_dir,
        .name = run->name,
        .is_adopting = run->is_adopting,
        .is_again = run->adoption.is_again,
        .control = run->controls[0],
        .restart_ms = MONITOR_RESTART_MS / libspawn__clock_scale(),
    };
    int status = monitor_run(&plan);

    if (status == MONITOR_UNWANTED) {
        destroy_unwanted(run);
        status = 1;
    }
    return status;
}

/* What an older or newer program wrote down may make no sense to us: then all
 * it left goes, its lock too, and the guest is taken over as from a dead
 * one. */
static void
resume(struct run *run, const char *text)
{
    uint64_t fd;

    run->is_adopting = true;
    run->adoption.is_again = true;
    if (libspawn__str_to_u64(text, STDERR_FILENO + 1, INT32_MAX, &fd, NULL)) {
        return;
    }
    if (libspawn__handover_read((int)fd, &run->handover, NULL)) {
        libspawn__json_free(run->handover.state);
        run->handover.state = NULL;
        libspawn__fd_close_from(STDERR_FILENO + 1);
    } else {
        close((int)fd);
    }
}

static bool
add_control(struct run *run, const char *name)
{
    size_t i;

    for (i = 0; i < LIBSPAWN__SUPERVISOR_DOORS_MAX; i++) {
        if (!run->controls[i]) {
            run->controls[i] = name;
            return true;
        }
    }
    return false;
}

/* Its descriptors are gone with the first supervisor that it starts. */
static bool
is_for_monitor(const struct run *run)
{
    return !run->controls[0] ||
           (!run->controls[1] &&
            libspawn__str_has_prefix(run->controls[0], "ptcp:"));
}

/* -1, or what to exit with. */
static int
parse(struct run *run, int argc, char *argv[])
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "state-dir", required_argument, NULL, 's' },
        { "adopt", no_argument, NULL, 'a' },
        { "again", no_argument, NULL, 'A' },
        { "lost", required_argument, NULL, 'l' },
        { "control", required_argument, NULL, 'c' },
        { "monitor", no_argument, NULL, 'm' },
        { "monitored", no_argument, NULL, 'M' },
        { "resume", required_argument, NULL, 'r' },
        { "print-states", no_argument, NULL, 'p' },
        { NULL, 0, NULL, 0 },
    };
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'h':
            print_usage(stdout);
            return 0;
        case 's':
            run->state_dir = optarg;
            break;
        case 'A':
            run->adoption.is_again = true;
            run->is_adopting = true;
            break;
        case 'l':
            run->adoption.lost = optarg;
            break;
        case 'r':
            resume(run, optarg);
            break;
        case 'm':
            run->is_monitor = true;
            break;
        case 'M':
            run->is_monitored = run->adoption.is_monitored = true;
            break;
        case 'c':
            if (!add_control(run, optarg)) {
                print_usage(stderr);
                return 2;
            }
            break;
        case 'a':
            run->is_adopting = true;
            break;
        case 'p':
            return print_states();
        default:
            print_usage(stderr);
            return 2;
        }
    }
    if (argc - optind != 1 || (run->is_monitor && !is_for_monitor(run))) {
        print_usage(stderr);
        return 2;
    }
    run->name = argv[optind];
    return -1;
}

/* ---- The program ------------------------------------------------------- */

static int
supervise(struct run *run, struct libspawn_err *err)
{
    int rc = libspawn_ctx_new(NULL, &run->ctx, err);

    if (!rc) {
        rc = catch_signals(run, err);
    }
    if (!rc) {
        rc =
            libspawn__daemon_enter(&run->daemon, run->ctx->loop, on_told, err);
    }
    run->has_starter = run->daemon.fd >= 0;
    if (!rc && run->is_adopting) {
        rc = adopt(run, err);
    } else if (!rc && !run->has_starter) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                            "what to create is told by `xl create`, over "
                            "descriptor %d",
                            LIBSPAWN__DAEMON_FD);
    }
    while (!rc && !run->is_done) {
        rc = libspawn_ctx_wait(run->ctx, -1, err);
    }
    return rc;
}

/* Handled instead of ignored, so that what is executed has the default. */
static void
ignore(int signal)
{
    (void)signal;
}

int
main(int argc, char *argv[])
{
    struct run run = { .signal_fd = -1, .daemon = { .fd = -1 } };
    struct libspawn_err err;
    int status = parse(&run, argc, argv);

    if (status >= 0) {
        return status;
    }
    signal(SIGPIPE, ignore);
    if (run.is_monitor) {
        return monitor(&run);
    }
    scale_times(&run.times);
    libspawn_guest_config_init(&run.config);
    if (supervise(&run, &err)) {
        fail(&run, NULL, &err);
    }
    libspawn__supervisor_free(run.supervisor);
    libspawn_host_close(run.host);
    libspawn__io_remove(&run.signal_io);
    libspawn__auto_close(&run.signal_fd);
    libspawn__daemon_dispose(&run.daemon);
    libspawn_ctx_free(run.ctx);
    libspawn_guest_config_dispose(&run.config);
    libspawn__json_free(run.handover.state);
    return run.status;
}
