/*
 * The blocking convenience: a client on a loop of its own, which nobody else
 * sees.  What a callback brings is kept in the session, not in the caller's
 * frame: the answer to a command that timed out may still come.
 */
#include "wire/qmp.h"

#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/str.h"
#include "wire/stream.h"

struct libspawn__qmp_session {
    struct libspawn__loop *loop;
    struct libspawn__qmp *qmp;
    char *name; /* for sentences */
    int timeout_ms;
    int64_t deadline_ms; /* of everything together */

    bool done;               /* what is waited for has come: */
    struct libspawn_err err; /* its failure; code 0: none */
    struct libspawn__json *result;
};

static void
on_ready(void *user)
{
    struct libspawn__qmp_session *session = user;

    session->done = true;
}

static void
on_closed(void *user, const struct libspawn_err *err)
{
    struct libspawn__qmp_session *session = user;

    if (!session->done) {
        session->done = true;
        session->err = *err;
    }
}

static void
on_reply(void *user, const struct libspawn__json *result,
         const struct libspawn_err *err)
{
    struct libspawn__qmp_session *session = user;

    session->done = true;
    if (err) {
        session->err = *err;
    } else {
        libspawn__json_copy(result, &session->result, &session->err);
    }
}

static void
expect(struct libspawn__qmp_session *session)
{
    session->done = false;
    session->err.code = 0;
    libspawn__json_free(session->result);
    session->result = NULL;
}

/* Waits for what expect announced: that the monitor does 'what', 'hint' being
 * the likely reason why it does not. */
static int
wait_done(struct libspawn__qmp_session *session, const char *what,
          const char *hint, struct libspawn_err *err)
{
    int rc = 0;

    while (!rc && !session->done) {
        int left_ms = libspawn__clock_left_ms(session->deadline_ms);

        if (!left_ms) {
            return libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                                  "QEMU's monitor at '%s' did not %s within "
                                  "%d ms%s",
                                  session->name, what, session->timeout_ms,
                                  hint);
        }
        rc = libspawn__loop_wait(session->loop, left_ms, err);
    }
    if (!rc && session->err.code) {
        rc = libspawn__fail(err, session->err.code,
                            "QEMU's monitor at '%s': %s", session->name,
                            session->err.text);
    }
    return rc;
}

static int
connect_to(struct libspawn__qmp_session *session, const char *name,
           struct libspawn_err *err)
{
    const struct libspawn__qmp_callbacks callbacks = { .ready = on_ready,
                                                       .closed = on_closed,
                                                       .user = session };
    int fd;
    int rc = libspawn__stream_open(name, session->timeout_ms, &fd, err);

    if (rc) {
        return rc;
    }
    rc = libspawn__qmp_new(session->loop, fd, &callbacks, &session->qmp, err);
    if (rc) {
        return rc;
    }
    expect(session);
    return wait_done(session, "greet", "; it may be serving another client",
                     err);
}

static int
open_session(const char *name, const char *shown, int timeout_ms,
             struct libspawn__qmp_session **session_r,
             struct libspawn_err *err)
{
    AUTO_QMP_SESSION struct libspawn__qmp_session *session =
        calloc(1, sizeof *session);
    int rc;

    if (!session) {
        return libspawn__fail_nomem(err);
    }
    session->timeout_ms = timeout_ms;
    session->deadline_ms = libspawn__clock_deadline(timeout_ms);
    rc = libspawn__str_assign(&session->name, shown, err);
    if (!rc) {
        rc = libspawn__loop_new(&session->loop, err);
    }
    if (!rc) {
        rc = connect_to(session, name, err);
    }
    if (!rc) {
        *session_r = TAKE_PTR(session);
    }
    return rc;
}

int
libspawn__qmp_session_connect(const char *name, int timeout_ms,
                              struct libspawn__qmp_session **session_r,
                              struct libspawn_err *err)
{
    return open_session(name, name, timeout_ms, session_r, err);
}

int
libspawn__qmp_session_open(const char *path, int timeout_ms,
                           struct libspawn__qmp_session **session_r,
                           struct libspawn_err *err)
{
    AUTO_FREE char *name = libspawn__str_format("unix:%s", path);

    return name ? open_session(name, path, timeout_ms, session_r, err)
                : libspawn__fail_nomem(err);
}

void
libspawn__qmp_session_close(struct libspawn__qmp_session *session)
{
    if (session) {
        libspawn__qmp_free(session->qmp);
        libspawn__loop_free(session->loop);
        libspawn__json_free(session->result);
        free(session->name);
        free(session);
    }
}

int
libspawn__qmp_session_run(struct libspawn__qmp_session *session,
                          const char *command, const char *arguments_json,
                          int fd, struct libspawn__json **result_r,
                          struct libspawn_err *err)
{
    AUTO_FREE char *what = libspawn__str_format("answer '%s'", command);
    int rc;

    if (!what) {
        return libspawn__fail_nomem(err);
    }
    expect(session);
    rc = libspawn__qmp_command(session->qmp, command, arguments_json, fd,
                               on_reply, session, err);
    if (!rc) {
        rc = wait_done(session, what, "", err);
    }
    if (!rc && result_r) {
        *result_r = TAKE_PTR(session->result);
    }
    return rc;
}
