/*
 * xl create: the guest's supervisor creates it, and stays.  We tell it what
 * to create, show what it says, and pass its verdict on.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/pidref.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/supervised.h"
#include "proc/ctx.h"
#include "proc/daemon.h"
#include "proc/status.h"
#include "xl/create.h"

enum {
    /* What the device model may take when nothing is said. */
    DEVICE_MODEL_TIMEOUT_MS = 60000,
    /* What all else may take beside it. */
    EXTRA_TIMEOUT_MS = 30000
};

/* ---- Verdict ----------------------------------------------------------- */

/* After a supervisor that was killed, which could not undo anything: opening
 * the host does that. */
static void
undo(struct xl__creation *creation)
{
    if (!xl__try_open_host(creation->xl, NULL)) {
        libspawn__supervised_tidy(creation->xl->host, creation->config.name);
    }
}

/* What the supervisor says of its failure, or what is to be seen from
 * outside when it could say nothing. */
static void
fail(struct xl__creation *creation,
     const struct libspawn__daemon_verdict *verdict)
{
    AUTO(xl__creation_failure_dispose)
    struct xl__creation_failure failure = { .err = verdict->err,
                                            .status = verdict->exit_status };
    AUTO_JSON struct libspawn__json *said = NULL;
    const struct libspawn__json *report;
    const char *message;
    int64_t code;

    if (verdict->text &&
        !libspawn__json_parse(verdict->text, strlen(verdict->text),
                              LIBSPAWN__DAEMON_TEXT_MAX, &said, NULL)) {
        message =
            libspawn__json_string(libspawn__json_member(said, "message"));
        /* That it was told to leave is no news. */
        if (message && verdict->err.code != LIBSPAWN_ERR_TIMEOUT &&
            libspawn__json_integer(libspawn__json_member(said, "code"),
                                   &code)) {
            libspawn__fail(&failure.err, (int)code, "%s", message);
        }
        libspawn__str_assign(
            &failure.text,
            libspawn__json_string(libspawn__json_member(said, "text")), NULL);
        report = libspawn__json_member(said, "report");
        if (report) {
            libspawn__json_copy(report, &failure.report, NULL);
        }
    }
    if (!verdict->text) {
        undo(creation);
    }
    xl__creation_fail(creation, &failure);
}

static void
on_done(void *user, const struct libspawn__daemon_verdict *verdict)
{
    struct xl__creation *creation = user;
    AUTO_JSON struct libspawn__json *said = NULL;
    int64_t domid = 0;

    if (!verdict->is_ready) {
        fail(creation, verdict);
        return;
    }
    if (verdict->text &&
        !libspawn__json_parse(verdict->text, strlen(verdict->text),
                              LIBSPAWN__DAEMON_TEXT_MAX, &said, NULL)) {
        libspawn__json_integer(libspawn__json_member(said, "domid"), &domid);
    }
    creation->supervisor_pid = verdict->pid;
    xl__creation_succeed(creation, (uint32_t)domid);
}

/* ---- Meanwhile --------------------------------------------------------- */

static void
on_stage(void *user, const char *stage)
{
    xl__creation_show_step(user, stage);
}

static void
on_said(void *user, const char *text, int fd)
{
    struct xl__creation *creation = user;
    AUTO_JSON struct libspawn__json *said = NULL;
    const char *waiting;
    const char *warning;

    if (libspawn__json_parse(text, strlen(text), LIBSPAWN__DAEMON_TEXT_MAX,
                             &said, NULL)) {
        return;
    }
    warning = libspawn__json_string(libspawn__json_member(said, "warning"));
    if (warning) {
        xl__creation_show_warning(creation, warning);
    }
    waiting = libspawn__json_string(libspawn__json_member(said, "waiting"));
    if (waiting) {
        xl__creation_show_waiting(creation, waiting);
    }
    if (libspawn__json_member(said, "console") && fd >= 0 &&
        creation->console_fd < 0) {
        creation->console_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    }
}

/* ---- Start ------------------------------------------------------------- */

static void
interrupt(void *user)
{
    libspawn__daemon_abort(user);
}

static int
write_config(const struct xl__creation *creation, int *fd_r,
             struct libspawn_err *err)
{
    AUTO_FD int fd = memfd_create("guest configuration", MFD_CLOEXEC);
    AUTO_FREE char *json = NULL;
    int rc;
    int r;

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "making a memory file");
    }
    rc = libspawn_guest_config_to_json(&creation->config, &json, err);
    if (rc) {
        return rc;
    }
    r = libspawn__fd_write_full(fd, json, strlen(json));
    if (r) {
        return libspawn__fail_errno(err, -r, "passing the configuration on");
    }
    *fd_r = TAKE_FD(fd);
    return 0;
}

/* What it is to do: docs/PROTOCOLS.md, "Daemon start". */
static int
give_order(const struct xl__creation *creation,
           struct libspawn__starter *starter, struct libspawn_err *err)
{
    AUTO_FREE char *order =
        libspawn__str_format("{\"paused\":%s,\"console\":%s}",
                             creation->is_paused ? "true" : "false",
                             creation->has_console ? "true" : "false");
    AUTO_FD int fd = -1;
    int rc = order ? write_config(creation, &fd, err)
                   : libspawn__fail_nomem(err);

    return rc ? rc : libspawn__daemon_tell(starter, order, fd, err);
}

static uint32_t
deadline_ms(const struct xl__creation *creation)
{
    uint32_t model_ms = creation->config.start_timeout_ms;

    if (creation->startup_timeout_s) {
        return (uint32_t)(creation->startup_timeout_s * 1000);
    }
    return (model_ms ? model_ms : (uint32_t)DEVICE_MODEL_TIMEOUT_MS) +
           EXTRA_TIMEOUT_MS;
}

static int
start(struct xl__creation *creation, struct libspawn__starter **starter_r,
      struct libspawn_err *err)
{
    static const struct libspawn__starter_callbacks callbacks = {
        .stage = on_stage, .said = on_said, .done = on_done
    };
    struct libspawn__starter_callbacks ours = callbacks;
    AUTO_FREE char *control = libspawn__str_format(
        "--control=%s", creation->control ? creation->control : "");
    const char *options[3] = { NULL };
    size_t n_options = 0;
    AUTO_FREE char *label = libspawn__str_format("supervisor of guest '%s'",
                                                 creation->config.name);
    AUTO_STRV struct libspawn__strv argv = { 0 };
    AUTO_FREE char *path = NULL;
    struct libspawn__daemon_plan plan = {
        .label = label,
        .envp = environ,
        .deadline_ms = deadline_ms(creation),
        /* Tests do not wait for that long. */
        .leave_ms =
            (uint32_t)(LIBSPAWN__DAEMON_LEAVE_MS / libspawn__clock_scale()),
    };
    int rc;

    if (!label || !control) {
        return libspawn__fail_nomem(err);
    }
    if (creation->has_monitor) {
        options[n_options++] = "--monitor";
    }
    if (creation->control) {
        options[n_options++] = control;
    }
    rc = libspawn__supervised_command(creation->xl->state_dir, options,
                                      creation->config.name, &path, &argv,
                                      err);
    ours.user = creation;
    plan.path = path;
    plan.argv = argv.items;
    return rc ? rc
              : libspawn__daemon_start(creation->xl->ctx->loop, &plan, &ours,
                                       starter_r, err);
}

int
xl__create_supervised(struct xl__creation *creation)
{
    struct libspawn__starter *starter = NULL;
    struct libspawn_err err;
    int rc = libspawn_ctx_new(NULL, &creation->xl->ctx, &err);

    if (!rc) {
        rc = start(creation, &starter, &err);
    }
    if (!rc) {
        rc = give_order(creation, starter, &err);
    }
    if (rc == LIBSPAWN_ERR_GONE) {
        rc = 0; /* it ended already, and its verdict says why */
    }
    if (rc) {
        xl__creation_fail_with(creation, &err);
    } else {
        xl__creation_wait(creation, interrupt, starter);
    }
    libspawn__starter_free(starter);
    return creation->status;
}

/* ---- Staying ----------------------------------------------------------- */

/* It is our child until we end. */
int
xl__create_stay(struct xl__creation *creation)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn_err err;
    bool has_ended = false;
    int status = 0;

    if (libspawn__pidref_of_child(creation->supervisor_pid, &ref, &err)) {
        return xl__fail(creation->xl, &err);
    }
    if (creation->signal) {
        /* It came while the guest was being created, and too late. */
        libspawn__pidref_signal(&ref, SIGTERM, NULL);
    }
    while (!has_ended) {
        struct pollfd fds[] = {
            { .fd = ref.fd, .events = POLLIN },
            { .fd = creation->signal_fd, .events = POLLIN },
        };

        poll(fds, ARRAY_SIZE(fds), -1);
        has_ended = fds[0].revents && libspawn__pidref_has_ended(&ref);
        if (fds[1].revents && xl__creation_take_signal(creation)) {
            libspawn__pidref_signal(&ref, SIGTERM, NULL);
        }
    }
    waitpid(ref.id.pid, &status, 0);
    return libspawn__status_exit_code(status);
}
