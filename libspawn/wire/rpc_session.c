/*
 * The blocking client: one on a loop of its own, which nobody else sees.  What
 * a callback brings is kept in the session, not in the caller's frame; a call
 * that was given up is answered to nobody.
 */
#include "wire/rpc_client.h"

#include <stdlib.h>

#include "base/auto.h"
#include "base/clock.h"
#include "wire/stream.h"

struct libspawn__rpc_session {
    struct libspawn__loop *loop;
    struct libspawn__rpc_client *client;
    char *name;

    bool done;               /* what is waited for has come: */
    struct libspawn_err err; /* its failure; code 0: none */
    struct libspawn__json *result;
};

static void
on_ready(void *user)
{
    struct libspawn__rpc_session *session = user;

    session->done = true;
}

static void
on_ended(void *user, const struct libspawn_err *err)
{
    struct libspawn__rpc_session *session = user;

    if (!session->done) {
        session->done = true;
        session->err = *err;
    }
}

static void
on_reply(void *user, const struct libspawn__json *result,
         const struct libspawn_err *err)
{
    struct libspawn__rpc_session *session = user;

    session->done = true;
    if (err) {
        session->err = *err;
    } else {
        libspawn__json_copy(result, &session->result, &session->err);
    }
}

static void
expect(struct libspawn__rpc_session *session)
{
    session->done = false;
    session->err.code = 0;
    libspawn__json_free(TAKE_PTR(session->result));
}

/* Waits for what expect announced; the client's timers see to it that this
 * ends. */
static int
wait_done(struct libspawn__rpc_session *session, struct libspawn_err *err)
{
    int rc = 0;

    while (!rc && !session->done) {
        rc = libspawn__loop_wait(session->loop, -1, err);
    }
    if (!rc && session->err.code) {
        rc = session->err.code;
        if (err) {
            *err = session->err;
        }
    }
    return rc;
}

static int
greet(struct libspawn__rpc_session *session, int timeout_ms,
      struct libspawn_err *err)
{
    const struct libspawn__rpc_client_callbacks callbacks = {
        .ready = on_ready, .ended = on_ended, .user = session
    };
    int64_t deadline_ms = libspawn__clock_deadline(timeout_ms);
    int fd;
    int rc = libspawn__stream_open(session->name, timeout_ms, &fd, err);

    if (rc) {
        return rc;
    }
    expect(session);
    rc = libspawn__rpc_client_new(session->loop, fd,
                                  libspawn__clock_left_ms(deadline_ms),
                                  &callbacks, &session->client, err);
    if (!rc) {
        rc = wait_done(session, err);
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
        rc = libspawn__loop_new(&session->loop, err);
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
        libspawn__loop_free(session->loop);
        libspawn__json_free(session->result);
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

    expect(session);
    rc = libspawn__rpc_call(session->client, method, params_json, timeout_ms,
                            on_reply, session, err);
    if (!rc) {
        rc = wait_done(session, err);
    }
    if (!rc && result_r) {
        *result_r = TAKE_PTR(session->result);
    }
    return rc;
}
