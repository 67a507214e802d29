/*
 * The asking end of the control RPC: on the loop, and blocking.
 *
 *   GREETING --> READY --> ENDED
 *
 *   GREETING  "hello" is sent; calls may be made and wait for their answers
 *   READY     the server has answered it; 'ready' was called
 *   ENDED     end of file, error or a missing greeting; 'ended' was called
 *
 * That a connection stands proves nothing; the answer to "hello" does.  The
 * server is not trusted: what the link refuses, an answer to nothing, or one
 * that is neither result nor error, ends the connection with
 * LIBSPAWN_ERR_PROTOCOL.
 */
#ifndef LIBSPAWN_WIRE_RPC_CLIENT_H
#define LIBSPAWN_WIRE_RPC_CLIENT_H

#include "loop/loop.h"
#include "wire/rpc.h"

struct libspawn__rpc_client;

/* The answer to a call: 'result' (NULL on failure), 'err' NULL on success.
 * What the server refuses has its code and its sentence.
 * LIBSPAWN_ERR_TIMEOUT: no answer in time; a later one is ignored.  When the
 * connection ends, the error that 'ended' then gets.  Both borrowed. */
typedef void libspawn__rpc_reply_fn(void *user,
                                    const struct libspawn__json *result,
                                    const struct libspawn_err *err);

/* Each is optional but 'ended'. */
struct libspawn__rpc_client_callbacks {
    void (*ready)(void *user);
    void (*notification)(void *user, const char *method,
                         const struct libspawn__json *params);
    /* Once, and last, unless the client is freed before. */
    void (*ended)(void *user, const struct libspawn_err *err);
    void *user;
};

/* Takes the connected (or connecting) non-blocking socket 'fd' in every case.
 * The server has to greet within 'timeout_ms' (-1: for ever). */
int libspawn__rpc_client_new(
    struct libspawn__loop *loop, int fd, int timeout_ms,
    const struct libspawn__rpc_client_callbacks *callbacks,
    struct libspawn__rpc_client **client_r, struct libspawn_err *err);

/* Closes it; no callback comes any more, not even those of calls.  May be
 * called from any callback; NULL is fine. */
void libspawn__rpc_client_free(struct libspawn__rpc_client *client);

/* 'params_json' is an object as text, or NULL.  'fn' may be NULL; it is never
 * called from here.  LIBSPAWN_ERR_LIMIT: more than LIBSPAWN__RPC_CALLS_MAX
 * calls without answer, or too long.  When the connection has ended, what
 * 'ended' was told. */
int libspawn__rpc_call(struct libspawn__rpc_client *client, const char *method,
                       const char *params_json, int timeout_ms,
                       libspawn__rpc_reply_fn *fn, void *user,
                       struct libspawn_err *err);

/* ---- Blocking ----------------------------------------------------------
 *
 * Connects to 'name', as libspawn__stream_connect takes it, and is greeted,
 * all within 'timeout_ms' (-1: for ever).  Codes are those of
 * libspawn__stream_connect and of libspawn__rpc_reply_fn.
 */
struct libspawn__rpc_session;

int libspawn__rpc_session_open(const char *name, int timeout_ms,
                               struct libspawn__rpc_session **session_r,
                               struct libspawn_err *err);
void libspawn__rpc_session_close(struct libspawn__rpc_session *session);

static inline void
libspawn__rpc_session_auto_close(struct libspawn__rpc_session **session)
{
    libspawn__rpc_session_close(*session);
}
#define AUTO_RPC_SESSION                                                      \
    __attribute__((cleanup(libspawn__rpc_session_auto_close)))

/* '*result_r' is freed with libspawn__json_free; 'result_r' may be NULL.
 * Notifications that come meanwhile are dropped. */
int libspawn__rpc_session_call(struct libspawn__rpc_session *session,
                               const char *method, const char *params_json,
                               int timeout_ms,
                               struct libspawn__json **result_r,
                               struct libspawn_err *err);

#endif
