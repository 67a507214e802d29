/*
 * The serving end of the control RPC, against peers that the test plays: what
 * they hear, byte for byte.  Bad ones: test_rpc_server_bad.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/harness.h"
#include "tests/unit/rpc_scene.h"

/* Covers S12. */
TEST(rpc_request__is_answered_with_its_id)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;

    scene_init(&scene);
    peer = peer_connect(&scene);
    peer_says(&scene, peer, CALL("7", "echo", "{\"a\":[1,2.5,\"x\"]}"));
    assert_hears(peer, RESULT("7", "{\"a\":[1,2.5,\"x\"]}"));
    peer_says(&scene, peer, CALL("\"a\\nb\"", "echo", "{}"));
    assert_hears(peer, RESULT("\"a\\nb\"", "{}"));
    peer_says(&scene, peer, CALL("-9223372036854775808", "echo", "{}"));
    assert_hears(peer, RESULT("-9223372036854775808", "{}"));
}

/* Covers S12. */
TEST(rpc_refusal__carries_code_sentence_and_errno)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;

    scene_init(&scene);
    peer = peer_connect(&scene);
    peer_says(&scene, peer, CALL("1", "refuse", "{}"));
    assert_hears(peer, ERROR("1", "-32002",
                             "looking for 'it': No such file or directory",
                             "\"code\":\"not-found\",\"errno\":2"));
}

/* Covers S12. */
TEST(rpc_notification__is_run_and_not_answered)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;

    scene_init(&scene);
    peer = peer_connect(&scene);
    peer_says(&scene, peer, NOTIFICATION("echo", "{}"));
    ck_assert_ptr_nonnull(scene.conn);
    peer_says(&scene, peer, NOTIFICATION("nonsense", "{}"));
    peer_says(&scene, peer, NOTIFICATION("refuse", "{}"));
    assert_hears(peer, "");
}

/* Covers S12. */
TEST(rpc_notify__reaches_the_client)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;

    scene_init(&scene);
    peer = peer_connect(&scene);
    peer_says(&scene, peer, NOTIFICATION("echo", "{}"));
    assert_ok(
        libspawn__rpc_notify(scene.conn, "died", "{\n\"code\": 1\n}", NULL),
        NULL);
    assert_hears(peer, NOTIFICATION("died", "{ \"code\": 1 }"));
}

/* Covers S13. */
TEST(rpc_messages_by_byte_and_all_at_once__are_the_same)
{
    static const char text[] = CALL("1", "echo", "{}")
        NOTIFICATION("echo", "{}") CALL("2", "echo", "{\"a\":\"\xc3\xa4\"}\r");
    static const char answers[] = RESULT("1", "{}")
        RESULT("2", "{\"a\":\"\xc3\xa4\"}");
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;
    size_t i;

    scene_init(&scene);
    peer = peer_connect(&scene);
    peer_says(&scene, peer, text);
    assert_hears(peer, answers);
    for (i = 0; text[i]; i++) {
        ck_assert(peer_sends(&scene, peer, text + i, 1));
    }
    assert_hears(peer, answers);
}

TEST(rpc_answer_later__comes_in_its_own_time)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;

    scene_init(&scene);
    peer = peer_connect(&scene);
    peer_says(&scene, peer, CALL("1", "keep", "{}") CALL("2", "echo", "{}"));
    assert_hears(peer, RESULT("2", "{}"));
    scene_answer_kept(&scene);
    assert_hears(peer, RESULT("1", "true"));
}

TEST(rpc_answer_to_one_who_left__goes_nowhere)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;

    scene_init(&scene);
    peer = peer_connect(&scene);
    peer_says(&scene, peer, CALL("1", "keep", "{}"));
    libspawn__auto_close(&peer);
    peer = -1;
    scene_settle(&scene);
    assert_log(&scene, "conn-ended");
    ck_assert_ptr_null(scene.conn);
    ck_assert_uint_eq(libspawn__rpc_server_n_clients(scene.server), 0);
    scene_answer_kept(&scene);
}

TEST(rpc_request_as_the_last_word__is_answered)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;

    scene_init(&scene);
    peer = peer_connect(&scene);
    ck_assert(peer_sends(&scene, peer, CALL("1", "ech", "{}"), 10));
    ck_assert_int_eq(send(peer, CALL("1", "echo", "{}") + 10,
                          sizeof CALL("1", "echo", "{}") - 11, 0),
                     sizeof CALL("1", "echo", "{}") - 11);
    shutdown(peer, SHUT_WR);
    scene_settle(&scene);
    assert_hears(peer, RESULT("1", "{}") "EOF");
}

TEST(rpc_client_that_leaves_without_its_answers__is_heard_to_the_end)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;
    int i;

    scene_init(&scene);
    peer = peer_connect(&scene);
    for (i = 0; i < 100; i++) {
        ck_assert_int_gt(send(peer, CALL("1", "echo", "{}"),
                              sizeof CALL("1", "echo", "{}") - 1, 0),
                         0);
    }
    ck_assert_int_gt(send(peer, NOTIFICATION("quit", "{}"),
                          sizeof NOTIFICATION("quit", "{}") - 1, 0),
                     0);
    libspawn__auto_close(&peer);
    peer = -1;
    scene_settle(&scene);
    ck_assert_ptr_null(scene.server);
}

TEST(rpc_server_freed_by_a_handler__ends_everybody)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;
    AUTO_FD int other = -1;

    scene_init(&scene);
    peer = peer_connect(&scene);
    other = peer_connect(&scene);
    peer_says(&scene, other, CALL("1", "keep", "{}"));
    peer_says(&scene, peer, CALL("1", "quit", "{}") CALL("2", "echo", "{}"));
    assert_hears(peer, "EOF");
    assert_hears(other, "EOF");
    assert_log(&scene, "");
}

TEST(rpc_server_freed_when_a_connection_ends__ends)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;
    AUTO_FD int other = -1;

    scene_init(&scene);
    scene.free_at = "conn-ended";
    peer = peer_connect(&scene);
    other = peer_connect(&scene);
    peer_says(&scene, peer, CALL("1", "keep", "{}"));
    peer_says(&scene, peer, "rubbish\n");
    assert_log(&scene, "conn-ended");
    assert_hears(other, "EOF");
}

TEST(rpc_hello__tells_version_and_program)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;
    char expected[256];

    scene_init(&scene);
    peer = peer_connect(&scene);
    snprintf(expected, sizeof expected,
             RESULT("1", "{\"protocol\":1,\"program\":\"scene\","
                         "\"version\":\"%s\",\"pid\":%d}"),
             LIBSPAWN_VERSION, (int)getpid());
    peer_says(&scene, peer, CALL("1", "hello", "{\"protocol\":1}"));
    assert_hears(peer, expected);
    peer_says(&scene, peer, CALL("1", "hello", "{\"protocol\":7,\"x\":0}"));
    assert_hears(peer, expected);
    peer_says(&scene, peer, CALL("2", "hello", "{\"protocol\":0}"));
    assert_hears(peer,
                 ERROR("2", "-32602", "'hello' needs the number of a protocol",
                       "\"code\":\"invalid\""));
}

TEST_MAIN("rpc_server")
