/*
 * The blocking convenience, with one deadline for everything together.
 */
#include "wire/qmp.h"

#include <stdlib.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/str.h"
#include "wire/answer.h"
#include "wire/stream.h"

struct libspawn__qmp_session {
    struct libspawn__answer answer;
    struct libspawn__qmp *qmp;
    char *name; /* for sentences */
    int timeout_ms;
    int64_t deadline_ms; /* of everything together */
};

/* Waits for what is expected: that the monitor does 'what', 'hint' being the
 * likely reason why it does not. */
static int
wait_for_answer(struct libspawn__qmp_session *session, const char *what,
                const char *hint, struct libspawn_err *err)
{
    const struct libspawn_err *failure = &session->answer.failure;
    int rc =
        libspawn__answer_wait(&session->answer, session->deadline_ms, err);

    if (rc) {
        return rc;
    }
    if (!session->answer.has_come) {
        return libspawn__fail(err, LIBSPAWN_ERR_TIMEOUT,
                              "QEMU's monitor at '%s' did not %s within %d "
                              "ms%s",
                              session->name, what, session->timeout_ms, hint);
    }
    return failure->code ? libspawn__fail(err, failure->code,
                                          "QEMU's monitor at '%s': %s",
                                          session->name, failure->text)
                         : 0;
}

static int
connect_to(struct libspawn__qmp_session *session, const char *name,
           struct libspawn_err *err)
{
    const struct libspawn__qmp_callbacks callbacks = {
        .ready = libspawn__answer_on_ready,
        .closed = libspawn__answer_on_ended,
        .user = &session->answer,
    };
    int fd;
    int rc = libspawn__stream_open(name, session->timeout_ms, &fd, err);

    if (rc) {
        return rc;
    }
    rc = libspawn__qmp_new(session->answer.loop, fd, &callbacks, &session->qmp,
                           err);
    if (rc) {
        return rc;
    }
    libspawn__answer_expect(&session->answer);
    return wait_for_answer(session, "greet",
                           "; it may be serving another client", err);
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
        rc = libspawn__answer_init(&session->answer, err);
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
        libspawn__answer_dispose(&session->answer);
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
    libspawn__answer_expect(&session->answer);
    rc = libspawn__qmp_command(session->qmp, command, arguments_json, fd,
                               libspawn__answer_on_reply, &session->answer,
                               err);
    if (!rc) {
        rc = wait_for_answer(session, what, "", err);
    }
    if (!rc && result_r) {
        *result_r = TAKE_PTR(session->answer.result);
    }
    return rc;
}
