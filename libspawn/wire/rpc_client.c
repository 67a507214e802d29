/*
 * Order of things: on_message finds out what a message is and hands it to
 * handle_notification, handle_hello or handle_answer.
 *
 * A callback may free the client, so nothing is touched after one; only
 * finish, which makes several, looks at 'freed'.
 */
#include "wire/rpc_client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/util.h"
#include "wire/rpc_link.h"

enum {
    HELLO_ID = 1
}; /* of the first call */

enum state {
    GREETING,
    READY,
    ENDED
};

struct call {
    struct libspawn__list link; /* in the client's list */
    struct libspawn__rpc_client *client;
    int64_t id;
    char *method;
    int timeout_ms;
    struct libspawn__timer timer;
    libspawn__rpc_reply_fn *fn; /* NULL: nobody waits (any more) */
    void *user;
};

struct libspawn__rpc_client {
    struct libspawn__loop *loop;
    struct libspawn__rpc_client_callbacks callbacks;
    struct libspawn__rpc_link *wire;
    enum state state;
    struct libspawn_err end; /* why it ended */
    int64_t last_id;
    struct libspawn__list calls; /* without answer, oldest first */
    size_t n_calls;
    bool finishing; /* finish is at work */
    bool freed;     /* and shall release the structure in the end */
};

/* ---- Calls ------------------------------------------------------------- */

static struct call *
first_call(const struct libspawn__rpc_client *client)
{
    return libspawn__list_is_empty(&client->calls)
               ? NULL
               : CONTAINER_OF(client->calls.next, struct call, link);
}

static void
call_free(struct call *call)
{
    libspawn__list_remove(&call->link);
    call->client->n_calls--;
    libspawn__timer_cancel(&call->timer);
    free(call->method);
    free(call);
}

/* Forgets the call and then tells whoever waits for it. */
static void
reply(struct call *call, const struct libspawn__json *result,
      const struct libspawn_err *err)
{
    libspawn__rpc_reply_fn *fn = call->fn;
    void *user = call->user;

    call_free(call);
    if (fn) {
        fn(user, result, err);
    }
}

static void
finish(struct libspawn__rpc_client *client, const struct libspawn_err *err)
{
    client->state = ENDED;
    client->end = *err;
    libspawn__rpc_link_free(TAKE_PTR(client->wire));
    client->finishing = true;
    while (!client->freed && first_call(client)) {
        reply(first_call(client), NULL, &client->end);
    }
    if (!client->freed) {
        client->callbacks.ended(client->callbacks.user, &client->end);
    }
    client->finishing = false;
    if (client->freed) {
        free(client);
    }
}

/* The call stays, as its answer may still come. */
static void
on_timeout(struct libspawn__timer *timer)
{
    struct call *call = CONTAINER_OF(timer, struct call, timer);
    libspawn__rpc_reply_fn *fn = TAKE_PTR(call->fn);
    struct libspawn_err err;

    libspawn__fail(&err, LIBSPAWN_ERR_TIMEOUT, "'%s' got no answer in %d ms",
                   call->method, call->timeout_ms);
    if (call->id == HELLO_ID) {
        finish(call->client, &err);
    } else if (fn) {
        fn(call->user, NULL, &err);
    }
}

/* NULL: no memory. */
static struct call *
call_new(struct libspawn__rpc_client *client, const char *method)
{
    struct call *call = calloc(1, sizeof *call);
    AUTO_FREE char *name = strdup(method);

    if (!call || !name) {
        free(call);
        return NULL;
    }
    call->client = client;
    call->id = client->last_id + 1;
    call->method = TAKE_PTR(name);
    libspawn__timer_init(client->loop, &call->timer, on_timeout);
    libspawn__list_append(&client->calls, &call->link);
    client->n_calls++;
    return call;
}

static int
send_call(struct libspawn__rpc_client *client, const struct call *call,
          const char *params_json, struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf line = { 0 };
    char id[24];

    snprintf(id, sizeof id, "%" PRId64, call->id);
    libspawn__rpc_put_call(&line, id, call->method, params_json);
    return libspawn__rpc_link_send(client->wire, &line, err);
}

int
libspawn__rpc_call(struct libspawn__rpc_client *client, const char *method,
                   const char *params_json, int timeout_ms,
                   libspawn__rpc_reply_fn *fn, void *user,
                   struct libspawn_err *err)
{
    struct call *call;
    int rc;

    if (client->state == ENDED) {
        if (err) {
            *err = client->end;
        }
        return client->end.code;
    }
    if (client->n_calls >= LIBSPAWN__RPC_CALLS_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "more than %d calls without answer",
                              LIBSPAWN__RPC_CALLS_MAX);
    }
    call = call_new(client, method);
    if (!call) {
        return libspawn__fail_nomem(err);
    }
    rc = send_call(client, call, params_json, err);
    if (rc == LIBSPAWN_ERR_GONE) {
        /* Reading finds out why, and ends the call with the others. */
        rc = 0;
    }
    if (rc) {
        call_free(call);
        return rc;
    }
    call->fn = fn;
    call->user = user;
    call->timeout_ms = timeout_ms;
    client->last_id = call->id;
    if (timeout_ms >= 0) {
        libspawn__timer_set(&call->timer,
                            libspawn__clock_now_ms() + timeout_ms);
    }
    return 0;
}

/* ---- Messages from the server ------------------------------------------ */

static int
handle_notification(struct libspawn__rpc_client *client,
                    const struct libspawn__json *message, const char *method,
                    struct libspawn_err *err)
{
    if (libspawn__json_member(message, "id")) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the server called '%.80s'", method);
    }
    if (client->callbacks.notification) {
        client->callbacks.notification(
            client->callbacks.user, method,
            libspawn__json_member(message, "params"));
    }
    return 0;
}

static int
handle_hello(struct libspawn__rpc_client *client, struct call *call,
             const struct libspawn__json *result,
             const struct libspawn_err *refusal, struct libspawn_err *err)
{
    int64_t version;

    reply(call, NULL, NULL);
    if (refusal) {
        return libspawn__fail(err, refusal->code, "%s", refusal->text);
    }
    if (!libspawn__json_integer(libspawn__json_member(result, "protocol"),
                                &version) ||
        version < 1 || version > LIBSPAWN__RPC_PROTOCOL) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the server does not speak version %d of the "
                              "protocol",
                              LIBSPAWN__RPC_PROTOCOL);
    }
    client->state = READY;
    if (client->callbacks.ready) {
        client->callbacks.ready(client->callbacks.user);
    }
    return 0;
}

static struct call *
find_call(const struct libspawn__rpc_client *client,
          const struct libspawn__json *message)
{
    struct libspawn__list *link;
    int64_t id;

    if (!libspawn__json_integer(libspawn__json_member(message, "id"), &id)) {
        return NULL;
    }
    LIST_FOR_EACH (link, &client->calls) {
        struct call *call = CONTAINER_OF(link, struct call, link);

        if (call->id == id) {
            return call;
        }
    }
    return NULL;
}

static int
handle_answer(struct libspawn__rpc_client *client,
              const struct libspawn__json *message, struct libspawn_err *err)
{
    const struct libspawn__json *result =
        libspawn__json_member(message, "result");
    const struct libspawn__json *error =
        libspawn__json_member(message, "error");
    struct call *call = find_call(client, message);
    struct libspawn_err refusal;

    if (!result == !error) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the server sent neither a result nor an error");
    }
    if (error) {
        libspawn__rpc_read_error(error, &refusal);
    }
    if (!call && error) {
        /* Not about a call but about us: the last that it says. */
        *err = refusal;
        return err->code;
    }
    if (!call) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the server answered what nobody had asked");
    }
    if (call->id == HELLO_ID) {
        return handle_hello(client, call, result, error ? &refusal : NULL,
                            err);
    }
    if (client->state != READY) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the server answered '%s' before the greeting",
                              call->method);
    }
    reply(call, result, error ? &refusal : NULL);
    return 0;
}

static int
on_message(void *user, const struct libspawn__json *message,
           struct libspawn_err *err)
{
    struct libspawn__rpc_client *client = user;
    const char *method =
        libspawn__json_string(libspawn__json_member(message, "method"));
    int rc = libspawn__rpc_check(message, err);

    if (rc) {
        return rc;
    }
    return method ? handle_notification(client, message, method, err)
                  : handle_answer(client, message, err);
}

static void
on_ended(void *user, const struct libspawn_err *err)
{
    struct libspawn__rpc_client *client = user;
    struct libspawn_err reset;

    /* An end where a greeting should be is never an orderly one. */
    if (client->state == GREETING && err->code == LIBSPAWN_ERR_GONE &&
        !err->sys_errno) {
        libspawn__fail_errno(&reset, ECONNRESET, "waiting for a greeting");
        err = &reset;
    }
    finish(client, err);
}

/* ---- The client -------------------------------------------------------- */

static int
say_hello(struct libspawn__rpc_client *client, int timeout_ms,
          struct libspawn_err *err)
{
    AUTO_FREE char *params =
        libspawn__str_format("{\"protocol\":%d}", LIBSPAWN__RPC_PROTOCOL);

    return params ? libspawn__rpc_call(client, "hello", params, timeout_ms,
                                       NULL, NULL, err)
                  : libspawn__fail_nomem(err);
}

int
libspawn__rpc_client_new(
    struct libspawn__loop *loop, int fd, int timeout_ms,
    const struct libspawn__rpc_client_callbacks *callbacks,
    struct libspawn__rpc_client **client_r, struct libspawn_err *err)
{
    struct libspawn__rpc_client *client = calloc(1, sizeof *client);
    const struct libspawn__rpc_link_callbacks link_callbacks = {
        .message = on_message, .ended = on_ended, .user = client
    };
    int rc;

    if (!client) {
        libspawn__auto_close(&fd);
        return libspawn__fail_nomem(err);
    }
    client->loop = loop;
    client->callbacks = *callbacks;
    libspawn__list_init(&client->calls);
    rc = libspawn__rpc_link_new(loop, fd, &link_callbacks, &client->wire, err);
    if (!rc) {
        rc = say_hello(client, timeout_ms, err);
    }
    if (rc) {
        libspawn__rpc_client_free(client);
        return rc;
    }
    *client_r = client;
    return 0;
}

void
libspawn__rpc_client_free(struct libspawn__rpc_client *client)
{
    if (!client) {
        return;
    }
    while (first_call(client)) {
        call_free(first_call(client));
    }
    libspawn__rpc_link_free(TAKE_PTR(client->wire));
    if (client->finishing) {
        client->freed = true;
    } else {
        free(client);
    }
}
