/*
 * The blocking client.  The timers of the client see to it that every wait
 * ends.
 */
#include "wire/rpc_client.h"

#include <stdlib.h>

#include "base/auto.h"
#include "base/clock.h"
#include "wire/answer.h"
#include "wire/stream.h"

struct libspawn__rpc_session {
    struct libspawn__answer answer;
    struct libspawn__rpc_client *client;
    char *name;
};

static int
wait_for_answer(struct libspawn__rpc_session *session,
                struct libspawn_err *err)
{
    const struct libspawn_err *failure = &session->answer.failure;
    int rc = libspawn__answer_wait(&session->answer, LIBSPAWN__NEVER, err);

    if (!rc && failure->code) {
        rc = failure->code;
        if (err) {
            *err = *failure;
        }
    }
    return rc;
}

static int
greet(struct libspawn__rpc_session *session, int timeout_ms,
      struct libspawn_err *err)
{
    const struct libspawn__rpc_client_callbacks callbacks = {
        .ready = libspawn__answer_on_ready,
        .ended = libspawn__answer_on_ended,
        .user = &session->answer,
    };
    int64_t deadline_ms = libspawn__clock_deadline(timeout_ms);
    int fd;
    int rc = libspawn__stream_open(session->name, timeout_ms, &fd, err);

    if (rc) {
        return rc;
    }
    libspawn__answer_expect(&session->answer);
    rc = libspawn__rpc_client_new(session->answer.loop, fd,
                                  libspawn__clock_left_ms(deadline_ms),
                                  &callbacks, &session->client, err);
    if (!rc) {
        rc = wait_for_answer(session, err);
    }
    if (rc) {
        libspawn__err_prefix(err, "'%s'", session->name);
    }
    return rc;
}

int
libspawn__rpc_session_open(const char *name, int timeout_ms,
                           struct libspawn__rpc_session **session_r,
                           struct libspawn_err *err)
{
    AUTO_RPC_SESSION struct libspawn__rpc_session *session =
        calloc(1, sizeof *session);
    int rc;

    if (!session) {
        return libspawn__fail_nomem(err);
    }
    rc = libspawn__str_assign(&session->name, name, err);
    if (!rc) {
        rc = libspawn__answer_init(&session->answer, err);
    }
    if (!rc) {
        rc = greet(session, timeout_ms, err);
    }
    if (!rc) {
        *session_r = TAKE_PTR(session);
    }
    return rc;
}

void
libspawn__rpc_session_close(struct libspawn__rpc_session *session)
{
    if (session) {
        libspawn__rpc_client_free(session->client);
        libspawn__answer_dispose(&session->answer);
        free(session->name);
        free(session);
    }
}

int
libspawn__rpc_session_call(struct libspawn__rpc_session *session,
                           const char *method, const char *params_json,
                           int timeout_ms, struct libspawn__json **result_r,
                           struct libspawn_err *err)
{
    int rc;

    libspawn__answer_expect(&session->answer);
    rc = libspawn__rpc_call(session->client, method, params_json, timeout_ms,
                            libspawn__answer_on_reply, &session->answer, err);
    if (!rc) {
        rc = wait_for_answer(session, err);
    }
    if (!rc && result_r) {
        *result_r = TAKE_PTR(session->answer.result);
    }
    return rc;
}
