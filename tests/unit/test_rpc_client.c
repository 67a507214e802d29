/*
 * The asking end of the control RPC, against our own server and against one
 * that the test plays on the other end of a pair.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "tests/lib/harness.h"
#include "tests/unit/rpc_scene.h"
#include "wire/stream.h"

#define GREETING RESULT("1", "{\"protocol\":1}")
#define HELLO CALL("1", "hello", "{\"protocol\":1}")

/* A client whose server is 'peer', which has heard the hello. */
static int
play_server(struct scene *scene, int timeout_ms)
{
    int fds[2];

    scene_init(scene);
    ck_assert_int_eq(socketpair(AF_UNIX,
                                SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                                fds),
                     0);
    scene_take(scene, fds[0], timeout_ms);
    assert_hears(fds[1], HELLO);
    return fds[1];
}

/* The same, greeted. */
static int
play_greeted(struct scene *scene)
{
    int peer = play_server(scene, -1);

    peer_says(scene, peer, GREETING);
    assert_log(scene, "ready");
    return peer;
}

static void
leave(struct scene *scene, int *peer)
{
    libspawn__auto_close(peer);
    *peer = -1;
    scene_settle(scene);
}

/* ---- Against our server ------------------------------------------------ */

/* Covers S12. */
TEST(rpc_call__brings_result_or_error)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    scene_connect(&scene, "unix:rpc");
    scene_call(&scene, "echo", "{\"a\":1}");
    scene_call(&scene, "refuse", NULL);
    scene_call(&scene, "fly", NULL);
    assert_log(&scene, "");
    scene_settle(&scene);
    assert_log(&scene, "{\"a\":1} not-found unsupported");
}

TEST(rpc_answers_out_of_order__find_their_calls)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    scene_connect(&scene, "unix:rpc");
    scene_call(&scene, "keep", NULL);
    scene_call(&scene, "echo", "{}");
    scene_settle(&scene);
    assert_log(&scene, "{}");
    scene_answer_kept(&scene);
    scene_settle(&scene);
    assert_log(&scene, "true");
}

/* Covers S12. */
TEST(rpc_notification__comes_to_the_client)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    scene_connect(&scene, "unix:rpc");
    scene_call(&scene, "echo", "{}");
    scene_settle(&scene);
    libspawn__rpc_notify(scene.conn, "died", "{\"x\":1}", NULL);
    libspawn__rpc_notify(scene.conn, "gone", NULL, NULL);
    scene_settle(&scene);
    assert_log(&scene, "{} died{\"x\":1} gone");
}

TEST(rpc_calls_before_the_greeting__are_answered_after_it)
{
    AUTO_SCENE struct scene scene;
    int fd;

    scene_init(&scene);
    assert_ok(libspawn__stream_connect("unix:rpc", &fd, NULL), NULL);
    scene_take(&scene, fd, -1);
    scene_call(&scene, "echo", "{}");
    scene_settle(&scene);
    assert_log(&scene, "ready {}");
}

TEST(rpc_too_many_calls__are_refused_here)
{
    AUTO_SCENE struct scene scene;
    struct libspawn_err err;
    int i;

    scene_init(&scene);
    scene_connect(&scene, "unix:rpc");
    for (i = 0; i < LIBSPAWN__RPC_CALLS_MAX; i++) {
        scene_call(&scene, "keep", NULL);
    }
    assert_code(
        libspawn__rpc_call(scene.client, "echo", NULL, -1, NULL, NULL, &err),
        LIBSPAWN_ERR_LIMIT);
}

/* ---- Against a server that is played ----------------------------------- */

/* Covers S3. */
TEST(rpc_server_that_closes_after_our_hello__is_a_reset)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = play_server(&scene, -1);

    scene_call(&scene, "echo", NULL);
    assert_hears(peer, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"echo\"}\n");
    leave(&scene, &peer);
    assert_log(&scene, "gone ended:gone:ECONNRESET");
}

/* Covers S4. */
TEST(rpc_server_that_greets_and_closes__is_an_orderly_end)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = play_greeted(&scene);

    leave(&scene, &peer);
    assert_log(&scene, "ended:gone");
    assert_code(
        libspawn__rpc_call(scene.client, "echo", NULL, -1, NULL, NULL, NULL),
        LIBSPAWN_ERR_GONE);
}

/* Covers S5. */
TEST(rpc_greeting_that_says_more__is_accepted)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = play_server(&scene, -1);

    peer_says(&scene, peer,
              "{\"id\":1,\"more\":[{}],\"jsonrpc\":\"2.0\",\"result\":"
              "{\"new\":{\"a\":[null]},\"protocol\":1,\"features\":[]}}\n");
    assert_log(&scene, "ready");
}

/* Covers S6. */
TEST(rpc_greeting_that_is_wrong__ends_the_connection)
{
    static const char *const greetings[] = {
        "\n",
        "hello\n",
        "{\"QMP\":{}}\n",
        "{\"jsonrpc\":\"3.0\",\"id\":1,\"result\":{\"protocol\":1}}\n",
        RESULT("1", "{}"),
        RESULT("1", "null"),
        RESULT("1", "{\"protocol\":0}"),
        RESULT("1", "{\"protocol\":2}"),
        RESULT("1", "{\"protocol\":\"1\"}"),
        RESULT("2", "{\"protocol\":1}"),
        RESULT("null", "{\"protocol\":1}"),
        CALL("1", "hello", "{\"protocol\":1}"),
        "{\"jsonrpc\":\"2.0\",\"id\":1}\n",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{},\"error\":{}}\n",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(greetings); i++) {
        AUTO_SCENE struct scene scene;
        AUTO_FD int peer = play_server(&scene, -1);

        peer_says(&scene, peer, greetings[i]);
        assert_log(&scene, "ended:protocol");
    }
}

TEST(rpc_call_that_is_answered_before_the_greeting__ends_the_connection)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = play_server(&scene, -1);

    scene_call(&scene, "echo", NULL);
    peer_says(&scene, peer, RESULT("2", "{}"));
    assert_log(&scene, "protocol ended:protocol");
}

TEST(rpc_hello_refused__ends_with_its_reason)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = play_server(&scene, -1);

    peer_says(&scene, peer,
              ERROR("1", "-32005", "not you", "\"code\":\"denied\""));
    assert_log(&scene, "ended:denied");
}

TEST(rpc_last_words_of_the_server__are_the_reason)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = play_greeted(&scene);

    scene_call(&scene, "echo", NULL);
    peer_says(&scene, peer,
              ERROR("null", "-32007", "too many", "\"code\":\"limit\""));
    assert_log(&scene, "limit ended:limit");
}

TEST(rpc_error_of_a_foreign_server__has_a_code_by_its_number)
{
    static const struct {
        const char *error;
        const char *code;
    } cases[] = {
        { "{\"code\":-32601,\"message\":\"?\"}", "unsupported" },
        { "{\"code\":-32602,\"message\":\"?\"}", "invalid" },
        { "{\"code\":-32600}", "protocol" },
        { "{\"code\":1}", "system" },
        { "{\"code\":\"x\",\"data\":{\"code\":\"no-such\"}}", "system" },
        { "{\"data\":{\"code\":\"ok\"}}", "system" },
        { "{\"data\":{\"code\":\"busy\",\"errno\":-7}}", "busy" },
        { "{}", "system" },
        { "[]", "system" },
        { "\"no\"", "system" },
    };
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = play_greeted(&scene);
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *line = libspawn__str_format(
            "{\"jsonrpc\":\"2.0\",\"id\":%zu,\"error\":%s}\n", i + 2,
            cases[i].error);

        scene_call(&scene, "x", NULL);
        peer_says(&scene, peer, line);
        assert_log(&scene, cases[i].code);
    }
}

TEST(rpc_answer_to_nothing__ends_the_connection)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = play_greeted(&scene);

    scene_call(&scene, "echo", NULL);
    peer_says(&scene, peer, RESULT("2", "{}") RESULT("2", "{}"));
    assert_log(&scene, "{} ended:protocol");
}

TEST(rpc_silent_server__is_given_up)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = play_server(&scene, 20);

    scene_call(&scene, "echo", NULL);
    scene_wait_log(&scene, "ended");
    assert_log(&scene, "timeout ended:timeout");
}

TEST(rpc_late_answer__is_ignored)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = play_greeted(&scene);

    assert_ok(libspawn__rpc_call(scene.client, "slow", NULL, 10, log_reply,
                                 &scene, NULL),
              NULL);
    scene_wait_log(&scene, "timeout");
    scene_call(&scene, "echo", NULL);
    peer_says(&scene, peer, RESULT("2", "1") RESULT("3", "2"));
    assert_log(&scene, "timeout 2");
}

TEST(rpc_end__answers_every_call_first)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = play_greeted(&scene);

    scene_call(&scene, "a", NULL);
    scene_call(&scene, "b", NULL);
    leave(&scene, &peer);
    assert_log(&scene, "gone gone ended:gone:ECONNRESET");
}

TEST(rpc_client_freed_in_any_callback__makes_no_other)
{
    static const char *const words[] = {
        "ready",
        "1",
        "not-found",
        "note",
        "gone",
        "timeout",
        "ended:gone:ECONNRESET",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(words); i++) {
        AUTO_SCENE struct scene scene;
        AUTO_FD int peer = play_server(&scene, -1);

        scene.free_at = words[i];
        scene_call(&scene, "a", NULL);
        scene_call(&scene, "b", NULL);
        assert_ok(libspawn__rpc_call(scene.client, "c", NULL, 0, log_reply,
                                     &scene, NULL),
                  NULL);
        peer_says(&scene, peer, GREETING);
        scene_wait_log(&scene, i ? "timeout" : "ready");
        if (scene.client) {
            peer_says(&scene, peer,
                      RESULT("2", "1") ERROR(
                          "3", "1", "",
                          "\"code\":\"not-found\"") "{\"jsonrpc\":\"2.0\","
                                                    "\"method\":\"note\"}\n");
        }
        if (scene.client) {
            scene_call(&scene, "d", NULL);
        }
        leave(&scene, &peer);
        ck_assert_ptr_null(scene.client);
        ck_assert(libspawn__str_has_suffix(scene.log.data, words[i]));
    }
}

/* Covers S14. */
TEST(rpc_server_that_does_not_read__ends_the_client_at_the_limit)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = play_greeted(&scene);
    AUTO_FREE char *params = libspawn__str_format("{\"a\":\"%0500000d\"}", 0);
    int rc = 0;
    int n;

    for (n = 0; n < 10 && !rc; n++) {
        rc = libspawn__rpc_call(scene.client, "a", params, -1, NULL, NULL,
                                NULL);
    }
    assert_code(rc, LIBSPAWN_ERR_LIMIT);
    scene_settle(&scene);
    assert_log(&scene, "ended:limit");
}

TEST(rpc_call_over_the_limit__is_refused_and_harms_nothing)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = play_greeted(&scene);
    AUTO_FREE char *params = libspawn__str_format("\"%01048576d\"", 0);

    assert_code(
        libspawn__rpc_call(scene.client, "a", params, -1, NULL, NULL, NULL),
        LIBSPAWN_ERR_LIMIT);
    scene_call(&scene, "b", NULL);
    peer_says(&scene, peer, RESULT("2", "{}"));
    assert_log(&scene, "{}");
}

TEST_MAIN("rpc_client")
