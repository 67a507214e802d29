/*
 * Becoming another program, such as that of a newer package, while the guest
 * runs: the process stays the same, keeps its pid file locked and its control
 * socket listening, and serves the monitor on.
 *
 *   old   libspawn__supervisor_hand_over: writes what is only in its memory
 *         into a sealed memfd, lets the descriptors survive, and executes the
 *         program with "--resume=FD"
 *   new   libspawn__handover_read, libspawn__supervisor_new,
 *         libspawn__supervisor_resume: takes everything up again
 *
 * All else is in the store and with the watcher of the device model, as for
 * one that takes over from a dead one.  What is written is of version
 * LIBSPAWN__HANDOVER_VERSION; a program that knows another one begins anew,
 * which takes a moment longer.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/supervised.h"
#include "proc/ctx.h"
#include "service/supervisor.h"

enum {
    STATE_MAX = 64 * 1024,
    WATCHERS_MAX = 64 /* that are to be reaped; there are one or two */
};

/* ---- The old program --------------------------------------------------- */

static bool
is_idle(const struct libspawn__supervisor *s)
{
    size_t i;

    for (i = 0; i < LIBSPAWN__SUPERVISOR_N_WORKERS; i++) {
        if (s->workers[i]->fd >= 0) {
            return false;
        }
    }
    if (s->create || s->removal) {
        return false;
    }
    if (s->state == LIBSPAWN__STATE_ADMITTED) {
        return !s->dm || (libspawn__supervisor_has_dm(s) &&
                          libspawn__dm_idle_fd(s->dm) >= 0);
    }
    if (s->state == LIBSPAWN__STATE_CONNECTED ||
        s->state == LIBSPAWN__STATE_BACKOFF) {
        return s->was_admitted && libspawn__supervisor_has_dm(s);
    }
    return s->state == LIBSPAWN__STATE_FAILED;
}

static void
put_watchers(const struct libspawn__supervisor *s,
             struct libspawn__json_writer *w)
{
    pid_t pids[WATCHERS_MAX];
    size_t n = libspawn__ctx_list_watchers(s->host->ctx, pids, WATCHERS_MAX);
    size_t i;

    libspawn__json_begin_array(w, "watchers");
    for (i = 0; i < n; i++) {
        libspawn__json_put_integer(w, NULL, pids[i]);
    }
    libspawn__json_end_array(w);
}

/* Descriptors that survive; -1: none. */
struct survivors {
    int pid_fd;
    int control_fd;
    int monitor_fd;
    int state_fd;
    int door_fds[LIBSPAWN__SUPERVISOR_DOORS_MAX];
    size_t n_doors;
};

static void
put_doors(const struct libspawn__supervisor *s,
          const struct survivors *survivors, struct libspawn__json_writer *w)
{
    size_t i;

    libspawn__json_put_bool(w, "control_lent", s->is_control_lent);
    libspawn__json_begin_array(w, "door_fds");
    for (i = 0; i < survivors->n_doors; i++) {
        libspawn__json_put_integer(w, NULL, survivors->door_fds[i]);
    }
    libspawn__json_end_array(w);
}

static char *
write_state(const struct libspawn__supervisor *s,
            const struct survivors *survivors)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);

    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_integer(w, "version", LIBSPAWN__HANDOVER_VERSION);
    libspawn__json_put_integer(w, "pid_fd", survivors->pid_fd);
    libspawn__json_put_integer(w, "control_fd", survivors->control_fd);
    libspawn__json_put_integer(w, "monitor_fd", survivors->monitor_fd);
    libspawn__json_put_string(w, "state", libspawn__state_name(s->state));
    libspawn__json_put_integer(w, "state_since_ms", s->state_since);
    libspawn__json_put_bool(w, "paused", s->memory.is_paused);
    libspawn__json_put_bool(w, "holding", s->memory.is_holding);
    libspawn__json_put_bool(w, "given_up", s->memory.is_given_up);
    libspawn__json_put_integer(w, "connected_at_ms",
                               s->admission.connected_at);
    libspawn__json_put_integer(w, "last_admitted_ms",
                               s->admission.last_admitted);
    libspawn__json_put_integer(w, "limit_from_ms", s->admission.limit_from);
    libspawn__json_put_integer(w, "backoff_ms", s->admission.backoff);
    libspawn__json_put_integer(w, "admissions", s->n_admitted);
    libspawn__json_put_integer(w, "restarts", s->memory.n_restarts);
    libspawn__json_put_integer(w, "last_restart_ms", s->memory.last_restart);
    libspawn__json_put_integer(w, "programs", s->n_programs);
    if (s->monitor.fd >= 0) {
        libspawn__json_put_integer(w, "monitor_pid", s->monitor.id.pid);
    }
    if (s->end_text) {
        libspawn__json_put_string(w, "last_end", s->end_text);
    }
    put_watchers(s, w);
    put_doors(s, survivors, w);
    libspawn__json_end_object(w);
    return libspawn__json_writer_take(w);
}

static int
make_state_file(const struct libspawn__supervisor *s,
                struct survivors *survivors, struct libspawn_err *err)
{
    AUTO_FD int fd =
        memfd_create("guest-supervisor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    AUTO_FREE char *text = write_state(s, survivors);
    int r;

    if (!text) {
        return libspawn__fail_nomem(err);
    }
    r = fd < 0 ? -errno : libspawn__fd_write_full(fd, text, strlen(text));
    if (!r) {
        r = libspawn__fd_seal(fd);
    }
    if (r) {
        return libspawn__fail_errno(err, -r, "writing down what is known");
    }
    survivors->state_fd = TAKE_FD(fd);
    return 0;
}

static void
set_fd_surviving(int fd, bool is_surviving)
{
    if (fd >= 0) {
        fcntl(fd, F_SETFD, is_surviving ? 0 : FD_CLOEXEC);
    }
}

static void
set_surviving(const struct survivors *survivors, bool is_surviving)
{
    size_t i;

    set_fd_surviving(survivors->pid_fd, is_surviving);
    set_fd_surviving(survivors->control_fd, is_surviving);
    set_fd_surviving(survivors->monitor_fd, is_surviving);
    set_fd_surviving(survivors->state_fd, is_surviving);
    for (i = 0; i < survivors->n_doors; i++) {
        set_fd_surviving(survivors->door_fds[i], is_surviving);
    }
}

static int
execute(const struct libspawn__supervisor *s,
        const struct survivors *survivors, struct libspawn_err *err)
{
    AUTO_FREE char *resume =
        libspawn__str_format("--resume=%d", survivors->state_fd);
    const char *const options[] = { resume, NULL };
    AUTO_STRV struct libspawn__strv argv = { 0 };
    AUTO_FREE char *path = NULL;
    int rc = resume ? libspawn__supervised_command(s->host->state_dir, options,
                                                   s->config->name, &path,
                                                   &argv, err)
                    : libspawn__fail_nomem(err);

    if (rc) {
        return rc;
    }
    set_surviving(survivors, true);
    execv(path, argv.items);
    rc = libspawn__fail_errno(err, errno, "executing '%s'", path);
    set_surviving(survivors, false);
    return rc;
}

int
libspawn__supervisor_hand_over(const struct libspawn__supervisor *s,
                               struct libspawn_err *err)
{
    struct survivors survivors = {
        .pid_fd = s->pidfile.fd,
        .control_fd = libspawn__rpc_server_listener(s->control),
        .monitor_fd = s->dm && s->state == LIBSPAWN__STATE_ADMITTED
                          ? libspawn__dm_idle_fd(s->dm)
                          : -1,
        .state_fd = -1,
    };
    int rc;

    for (; survivors.n_doors < s->n_doors; survivors.n_doors++) {
        survivors.door_fds[survivors.n_doors] =
            libspawn__rpc_server_listener(s->doors[survivors.n_doors]);
    }
    if (!is_idle(s)) {
        return libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                              "the supervisor of guest '%s' has to do with it "
                              "just now",
                              s->config->name);
    }
    rc = make_state_file(s, &survivors, err);
    if (!rc) {
        rc = execute(s, &survivors, err);
    }
    libspawn__auto_close(&survivors.state_fd);
    return rc;
}

/* ---- The new program --------------------------------------------------- */

static int64_t
get_number(const struct libspawn__json *state, const char *key)
{
    int64_t number = 0;

    libspawn__json_integer(libspawn__json_member(state, key), &number);
    return number;
}

static bool
take_fd(const struct libspawn__json *state, const char *key, int *fd_r)
{
    int64_t fd;

    *fd_r = -1;
    if (!libspawn__json_integer(libspawn__json_member(state, key), &fd)) {
        return false;
    }
    *fd_r = (int)fd;
    return fd < 0 || fcntl(*fd_r, F_SETFD, FD_CLOEXEC) == 0;
}

static bool
take_doors(struct libspawn__handover *handover)
{
    const struct libspawn__json *fds =
        libspawn__json_member(handover->state, "door_fds");
    size_t i;

    handover->n_doors = 0;
    for (i = 0; i < libspawn__json_n_items(fds); i++) {
        int64_t fd;

        if (i == ARRAY_SIZE(handover->door_fds) ||
            !libspawn__json_integer(libspawn__json_item(fds, i), &fd) ||
            fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
            return false;
        }
        handover->door_fds[handover->n_doors++] = (int)fd;
    }
    return true;
}

int
libspawn__handover_read(int fd, struct libspawn__handover *handover,
                        struct libspawn_err *err)
{
    AUTO_FREE char *path = libspawn__str_format("/proc/self/fd/%d", fd);
    AUTO_FREE char *text = NULL;
    size_t size;
    int rc = path ? libspawn__file_read(path, STATE_MAX, &text, &size, err)
                  : libspawn__fail_nomem(err);

    if (!rc) {
        rc =
            libspawn__json_parse(text, size, STATE_MAX, &handover->state, err);
    }
    if (rc) {
        return rc;
    }
    if (get_number(handover->state, "version") != LIBSPAWN__HANDOVER_VERSION ||
        !take_fd(handover->state, "pid_fd", &handover->pid_fd) ||
        !take_fd(handover->state, "control_fd", &handover->control_fd) ||
        !take_fd(handover->state, "monitor_fd", &handover->monitor_fd) ||
        handover->pid_fd < 0 || handover->control_fd < 0 ||
        !take_doors(handover)) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "what was handed over is of another version");
    }
    return 0;
}

static void
keep_watchers(struct libspawn__supervisor *s,
              const struct libspawn__json *state)
{
    const struct libspawn__json *watchers =
        libspawn__json_member(state, "watchers");
    size_t i;

    for (i = 0; i < libspawn__json_n_items(watchers); i++) {
        int64_t pid;

        if (libspawn__json_integer(libspawn__json_item(watchers, i), &pid)) {
            libspawn__ctx_keep_watcher(s->host->ctx, (pid_t)pid);
        }
    }
}

/* It may have been our child, and have ended meanwhile.  Who has replaced it
 * its pid file tells. */
static void
go_on_monitored(struct libspawn__supervisor *s,
                const struct libspawn__json *state)
{
    pid_t pid = (pid_t)get_number(state, "monitor_pid");

    if (pid > 0) {
        waitpid(pid, NULL, WNOHANG);
    }
    libspawn__supervisor_watch_monitor(s);
}

/* The monitor is served on, and nobody sees that anything happened. */
static int
go_on_admitted(struct libspawn__supervisor *s, int monitor_fd,
               struct libspawn_err *err)
{
    int rc = monitor_fd < 0
                 ? 0
                 : libspawn__dm_resume_monitor(s->dm, monitor_fd, err);

    s->state = LIBSPAWN__STATE_ADMITTED;
    s->is_reconciled = true;
    s->is_unheard = false;
    s->is_pause_known = true;
    s->admission.is_connected = true;
    s->admission.is_admitted = true;
    return rc;
}

static int
go_on(struct libspawn__supervisor *s,
      const struct libspawn__handover *handover, struct libspawn_err *err)
{
    const char *state =
        libspawn__json_string(libspawn__json_member(handover->state, "state"));
    bool is_admitted = libspawn__str_equal(
        state, libspawn__state_name(LIBSPAWN__STATE_ADMITTED));
    int rc = 0;

    if (is_admitted && (!s->dm || handover->monitor_fd >= 0)) {
        rc = go_on_admitted(s, handover->monitor_fd, err);
    } else if (libspawn__str_equal(
                   state, libspawn__state_name(LIBSPAWN__STATE_FAILED))) {
        s->state = LIBSPAWN__STATE_FAILED;
        libspawn__task_post(&s->task);
    } else {
        libspawn__supervisor_move(s, LIBSPAWN__ON_START);
        return 0;
    }
    s->state_since = get_number(handover->state, "state_since_ms");
    return rc;
}

int
libspawn__supervisor_resume(struct libspawn__supervisor *s, uint32_t domid,
                            const struct libspawn__handover *handover,
                            struct libspawn_err *err)
{
    const struct libspawn__json *state = handover->state;
    int rc = libspawn__supervisor_take_over(s, domid, true, err);

    if (rc) {
        return rc;
    }
    keep_watchers(s, state);
    s->memory.is_paused =
        libspawn__json_bool(libspawn__json_member(state, "paused"), false);
    s->admission.connected_at = get_number(state, "connected_at_ms");
    s->admission.last_admitted = get_number(state, "last_admitted_ms");
    s->admission.limit_from = get_number(state, "limit_from_ms");
    if (!s->admission.limit_from) {
        s->admission.limit_from = s->admission.last_admitted;
    }
    s->admission.backoff = get_number(state, "backoff_ms");
    s->memory.is_given_up = libspawn__json_bool(
        libspawn__json_member(state, "given_up"), s->memory.is_given_up);
    s->has_inherited_end = s->has_inherited_end && !s->memory.is_given_up;
    s->n_admitted = (unsigned int)get_number(state, "admissions");
    s->memory.n_restarts = (unsigned int)get_number(state, "restarts");
    s->memory.last_restart = get_number(state, "last_restart_ms");
    s->n_programs = (unsigned int)get_number(state, "programs") + 1;
    libspawn__str_assign(
        &s->end_text,
        libspawn__json_string(libspawn__json_member(state, "last_end")), NULL);
    s->memory.is_holding =
        libspawn__json_bool(libspawn__json_member(state, "holding"), false);
    libspawn__supervisor_hold_on(s);
    go_on_monitored(s, state);
    return go_on(s, handover, err);
}
