/*
 * Memory running out at each allocation in turn, once or from then on, in both
 * ends of the control RPC: every call gets an answer of some kind, nothing is
 * leaked (the sanitizers look), and afterwards the server still serves.
 */
#include <string.h>

#include "base/auto.h"
#include "base/util.h"
#include "tests/lib/harness.h"
#include "tests/lib/memory.h"
#include "wire/rpc_client.h"
#include "wire/rpc_server.h"
#include "wire/stream.h"

struct story {
    struct libspawn__loop *loop;
    struct libspawn__rpc_server *server;
    struct libspawn__rpc_client *client;
    bool answered;
    bool noticed;
    bool ended;
};

static int
echo(void *user, struct libspawn__rpc_conn *conn,
     struct libspawn__rpc_request *request,
     const struct libspawn__json *params, struct libspawn_err *err)
{
    struct libspawn__json_writer *writer = libspawn__json_writer_new(false);
    AUTO_FREE char *text = NULL;

    (void)user;
    (void)err;
    libspawn__json_put(writer, NULL, params);
    text = libspawn__json_writer_take(writer);
    libspawn__rpc_notify(conn, "note", text, NULL);
    libspawn__rpc_answer(request, text);
    return 0;
}

static const struct libspawn__rpc_method methods[] = { { "echo", echo },
                                                       { NULL, NULL } };

static void
on_notification(void *user, const char *method,
                const struct libspawn__json *params)
{
    struct story *story = user;

    (void)method;
    (void)params;
    story->noticed = true;
}

static void
on_ended(void *user, const struct libspawn_err *err)
{
    struct story *story = user;

    (void)err;
    story->ended = true;
}

static void
on_reply(void *user, const struct libspawn__json *result,
         const struct libspawn_err *err)
{
    struct story *story = user;

    (void)result;
    (void)err;
    story->answered = true;
}

static void
start_serving(struct story *story)
{
    const struct libspawn__rpc_service service = { .methods = methods,
                                                   .program = "story" };
    struct libspawn_err err;
    int fd;

    assert_ok(libspawn__loop_new(&story->loop, &err), &err);
    assert_ok(libspawn__stream_listen("punix:rpc", 0600, &fd, &err), &err);
    assert_ok(libspawn__rpc_server_new(story->loop, fd, &service,
                                       &story->server, &err),
              &err);
}

static void
stop_serving(struct story *story)
{
    libspawn__rpc_server_free(story->server);
    libspawn__loop_free(story->loop);
}
#define AUTO_STORY AUTO(stop_serving)

/* One client that asks once; 0 when it was answered, however. */
static int
ask(struct story *story)
{
    const struct libspawn__rpc_client_callbacks callbacks = {
        .notification = on_notification, .ended = on_ended, .user = story
    };
    int rc;
    int fd;
    int i;

    story->answered = story->noticed = story->ended = false;
    rc = libspawn__stream_connect("unix:rpc", &fd, NULL);
    if (!rc) {
        rc = libspawn__rpc_client_new(story->loop, fd, -1, &callbacks,
                                      &story->client, NULL);
    }
    if (rc) {
        return rc;
    }
    rc = libspawn__rpc_call(story->client, "echo", "{\"a\":1}", -1, on_reply,
                            story, NULL);
    for (i = 0; i < 100 && !rc && !story->answered && !story->ended; i++) {
        rc = libspawn__loop_wait(story->loop, 1000, NULL);
    }
    libspawn__rpc_client_free(story->client);
    /* The server notices that it has left. */
    while (libspawn__rpc_server_n_clients(story->server) && i++ < 100) {
        libspawn__loop_wait(story->loop, 1000, NULL);
    }
    return i < 100 ? rc : LIBSPAWN_ERR_TIMEOUT;
}

static void
run_out_of_memory(bool for_good)
{
    AUTO_STORY struct story story = { 0 };
    bool failed = true;
    long n;
    int rc;

    start_serving(&story);
    for (n = 1; failed; n++) {
        ck_assert_int_lt(n, 1000);
        memory_fail_at(n, for_good);
        rc = ask(&story);
        failed = memory_stop_failing();
        ck_assert_int_ne(rc, LIBSPAWN_ERR_TIMEOUT);
        if (!rc) {
            ck_assert(story.answered || story.ended);
        }
        assert_code(ask(&story), 0);
        ck_assert(story.answered && story.noticed && !story.ended);
    }
    ck_assert_int_gt(n, 20);
}

TEST_TIMEOUT(rpc_without_memory_once__answers_or_ends, 60)
{
    run_out_of_memory(false);
}

TEST_TIMEOUT(rpc_without_memory_for_good__answers_or_ends, 60)
{
    run_out_of_memory(true);
}

TEST_MAIN("rpc_memory")
