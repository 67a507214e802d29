/*
 * What can be asked of a supervisor.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/serials.h"
#include "guest/supervised.h"
#include "proc/ctx.h"
#include "service/supervisor.h"
#include "store/paths.h"

static int
answer_status(void *user, struct libspawn__rpc_conn *conn,
              struct libspawn__rpc_request *request,
              const struct libspawn__json *params, struct libspawn_err *err)
{
    const struct libspawn__supervisor *s = user;
    const struct libspawn__dm *dm = s->create && s->create->dm ? s->create->dm
                                                               : s->dm;
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);
    int64_t now = libspawn__clock_now_ms();
    AUTO_FREE char *text = NULL;

    (void)conn;
    (void)params;
    (void)err;
    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_string(w, "guest", s->config->name);
    libspawn__json_put_integer(w, "domid", s->domid);
    libspawn__json_put_integer(w, "pid", getpid());
    libspawn__json_put_string(w, "state", libspawn__state_name(s->state));
    libspawn__json_put_integer(w, "since_ms", now - s->state_since);
    libspawn__json_put_bool(w, "connected", s->admission.is_connected);
    libspawn__json_put_integer(
        w, "failing_ms", libspawn__admission_failing_for(&s->admission, now));
    libspawn__json_put_integer(w, "admissions", s->n_admitted);
    libspawn__json_put_integer(w, "restarts", s->memory.n_restarts);
    libspawn__json_put_integer(w, "programs", s->n_programs);
    if (dm) {
        libspawn__json_put_integer(w, "device_model_pid",
                                   libspawn_child_pid(libspawn__dm_child(dm)));
    }
    if (s->end_text) {
        libspawn__json_put_string(w, "last_end", s->end_text);
    }
    libspawn__json_put_bool(w, "monitored", s->memory.is_monitored);
    if (s->monitor.fd >= 0) {
        libspawn__json_put_integer(w, "monitor_pid", s->monitor.id.pid);
    }
    libspawn__supervisor_describe_workers(s, w);
    libspawn__supervisor_describe_doors(s, w);
    libspawn__json_end_object(w);
    text = libspawn__json_writer_take(w);
    libspawn__rpc_answer(request, text);
    return 0;
}

/* Who asks may have seen the end of whoever wanted the guest before we did. */
static bool
is_unwanted(struct libspawn__supervisor *s)
{
    if (!s->is_aborted && s->callbacks.is_unwanted &&
        s->callbacks.is_unwanted(s->callbacks.user)) {
        libspawn__supervisor_abort(s);
    }
    return s->is_aborted;
}

static int
answer_leave(void *user, struct libspawn__rpc_conn *conn,
             struct libspawn__rpc_request *request,
             const struct libspawn__json *params, struct libspawn_err *err)
{
    struct libspawn__supervisor *s = user;

    (void)conn;
    (void)params;
    if (s->create && !s->is_again && !is_unwanted(s)) {
        return libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                              "guest '%s' is being created by process %d",
                              s->config->name, (int)getpid());
    }
    libspawn__rpc_answer(request,
                         libspawn__supervisor_is_removing(s) ||
                                 (s->create && s->create->is_uninterruptible)
                             ? "{\"finishing\":true}"
                             : "{}");
    if (!s->create || s->is_again) {
        libspawn__supervisor_leave(s);
    }
    return 0;
}

/* ---- What follows an end ----------------------------------------------- */

/* Somebody waits until it is decided what follows the end of a process. */
struct settling {
    struct libspawn__list link;
    struct libspawn__rpc_request *request;
    pid_t pid;
};

/* A recovery script must not be kept waiting for its own end. */
static bool
is_settled(const struct libspawn__supervisor *s, pid_t pid)
{
    return s->state == LIBSPAWN__STATE_FAILED ||
           s->state == LIBSPAWN__STATE_RECOVERING ||
           s->state == LIBSPAWN__STATE_TERMINATED || !s->dm ||
           libspawn_child_pid(libspawn__dm_child(s->dm)) != pid;
}

static void
answer_settling(struct settling *settling)
{
    libspawn__list_remove(&settling->link);
    libspawn__rpc_answer_empty(settling->request);
    free(settling);
}

void
libspawn__supervisor_tell_settled(struct libspawn__supervisor *s)
{
    struct libspawn__list *link = s->settling.next;

    while (link != &s->settling) {
        struct settling *settling = CONTAINER_OF(link, struct settling, link);

        link = link->next;
        if (is_settled(s, settling->pid)) {
            answer_settling(settling);
        }
    }
}

void
libspawn__supervisor_drop_settling(struct libspawn__supervisor *s)
{
    while (!libspawn__list_is_empty(&s->settling)) {
        answer_settling(CONTAINER_OF(s->settling.next, struct settling, link));
    }
}

static int
answer_settle(void *user, struct libspawn__rpc_conn *conn,
              struct libspawn__rpc_request *request,
              const struct libspawn__json *params, struct libspawn_err *err)
{
    struct libspawn__supervisor *s = user;
    struct settling *settling;
    int64_t pid;

    (void)conn;
    if (!libspawn__json_integer(libspawn__json_member(params, "pid"), &pid)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "\"pid\" has to be that of a device model");
    }
    if (is_settled(s, (pid_t)pid)) {
        libspawn__rpc_answer_empty(request);
        return 0;
    }
    settling = calloc(1, sizeof *settling);
    if (!settling) {
        return libspawn__fail_nomem(err);
    }
    settling->request = request;
    settling->pid = (pid_t)pid;
    libspawn__list_append(&s->settling, &settling->link);
    return 0;
}

/* ---- Ending the guest, hearing of it ----------------------------------- */

static int
answer_stop(void *user, struct libspawn__rpc_conn *conn,
            struct libspawn__rpc_request *request,
            const struct libspawn__json *params, struct libspawn_err *err)
{
    (void)conn;
    return libspawn__supervisor_stop(
        user, libspawn__json_string(libspawn__json_member(params, "how")),
        request, err);
}

static int
answer_events(void *user, struct libspawn__rpc_conn *conn,
              struct libspawn__rpc_request *request,
              const struct libspawn__json *params, struct libspawn_err *err)
{
    int rc = libspawn__supervisor_subscribe(user, conn, err);

    (void)params;
    if (!rc) {
        libspawn__rpc_answer_empty(request);
    }
    return rc;
}

/* ---- Its console ------------------------------------------------------- */

enum {
    CONSOLES_MAX = 16 /* more than any guest has */
};

/* A terminal of this host, where QEMU or xenconsoled made one. */
static int
find_terminal(const struct libspawn__supervisor *s, unsigned int number,
              char **terminal_r)
{
    AUTO_FREE char *serial = libspawn__path_serial_tty(s->domid, number);
    AUTO_FREE char *pv =
        libspawn__path_new(LIBSPAWN__PATH_CONSOLE_TTY, s->domid);
    struct libspawn__store *store = s->host->store;
    int rc = serial ? libspawn__store_read(store, NULL, serial, terminal_r,
                                           NULL, NULL)
                    : LIBSPAWN_ERR_NO_MEMORY;

    return rc && pv && !number
               ? libspawn__store_read(store, NULL, pv, terminal_r, NULL, NULL)
               : rc;
}

static int
answer_console(void *user, struct libspawn__rpc_conn *conn,
               struct libspawn__rpc_request *request,
               const struct libspawn__json *params, struct libspawn_err *err)
{
    const struct libspawn__supervisor *s = user;
    const struct libspawn__json *member =
        libspawn__json_member(params, "number");
    struct libspawn__json_writer *w;
    AUTO_FREE char *place = NULL;
    AUTO_FREE char *text = NULL;
    const char *key = "address";
    int64_t number = 0;

    (void)conn;
    if (member && (!libspawn__json_integer(member, &number) || number < 0 ||
                   number >= CONSOLES_MAX)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "\"number\" has to be that of a console");
    }
    if (libspawn__serials_find(s->host->store, s->domid, (unsigned int)number,
                               &place, NULL)) {
        key = "terminal";
        if (find_terminal(s, (unsigned int)number, &place)) {
            return libspawn__fail(err, LIBSPAWN_ERR_NOT_FOUND,
                                  "guest '%s' has no console %d to connect to",
                                  s->config->name, (int)number);
        }
    }
    w = libspawn__json_writer_new(false);
    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_string(w, key, place);
    libspawn__json_end_object(w);
    text = libspawn__json_writer_take(w);
    libspawn__rpc_answer(request, text);
    return 0;
}

/* ---- The monitor, for others ------------------------------------------- */

int
libspawn__supervisor_find_monitor(const struct libspawn__supervisor *s,
                                  struct libspawn__qmp **qmp_r,
                                  struct libspawn_err *err)
{
    struct libspawn__qmp *qmp = s->dm ? libspawn__dm_qmp(s->dm) : NULL;
    bool is_connected = qmp || s->admission.is_connected;

    if (is_connected && !s->is_reconciled) {
        return libspawn__fail(err, LIBSPAWN_ERR_BUSY,
                              "the device model of guest '%s' does not say "
                              "that it runs",
                              s->config->name);
    }
    if (!qmp) {
        return libspawn__fail(err, LIBSPAWN_ERR_GONE,
                              "the device model of guest '%s' does not serve "
                              "its monitor",
                              s->config->name);
    }
    *qmp_r = qmp;
    return 0;
}

static void
on_answer(void *user, const struct libspawn__json *result,
          const struct libspawn_err *err)
{
    struct libspawn__rpc_request *request = user;
    AUTO_FREE char *text = err ? NULL : libspawn__json_to_text(result);

    if (err) {
        libspawn__rpc_refuse(request, err);
    } else {
        libspawn__rpc_answer(request, text);
    }
}

/* One command over the connection that is ours; several clients at once. */
static int
answer_monitor(void *user, struct libspawn__rpc_conn *conn,
               struct libspawn__rpc_request *request,
               const struct libspawn__json *params, struct libspawn_err *err)
{
    const struct libspawn__supervisor *s = user;
    struct libspawn__qmp *qmp;
    const char *command =
        libspawn__json_string(libspawn__json_member(params, "execute"));
    const struct libspawn__json *arguments =
        libspawn__json_member(params, "arguments");
    AUTO_FREE char *text = NULL;
    int rc;

    (void)conn;
    if (!command) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "\"execute\" has to name a monitor command");
    }
    rc = libspawn__supervisor_find_monitor(s, &qmp, err);
    if (rc) {
        return rc;
    }
    if (arguments) {
        text = libspawn__json_to_text(arguments);
        if (!text) {
            return libspawn__fail_nomem(err);
        }
    }
    return libspawn__qmp_command(qmp, command, text, -1, on_answer, request,
                                 err);
}

/* ---- Becoming another program ------------------------------------------ */

/* The answer of one that did is the end of the connection; "programs" in its
 * status then tells more. */
static int
answer_reexec(void *user, struct libspawn__rpc_conn *conn,
              struct libspawn__rpc_request *request,
              const struct libspawn__json *params, struct libspawn_err *err)
{
    (void)conn;
    (void)request;
    (void)params;
    return libspawn__supervisor_hand_over(user, err);
}

const struct libspawn__rpc_method libspawn__supervisor_methods[] = {
    { "status", answer_status }, { "leave", answer_leave },
    { "settle", answer_settle }, { "monitor", answer_monitor },
    { "reexec", answer_reexec }, { "stop", answer_stop },
    { "events", answer_events }, { "console", answer_console },
    { NULL, NULL },
};

const struct libspawn__rpc_method libspawn__supervisor_open_methods[] = {
    { "status", answer_status },
    { "events", answer_events },
    { NULL, NULL },
};
