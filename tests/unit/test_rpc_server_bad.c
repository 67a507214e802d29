/*
 * The serving end of the control RPC against peers that are wrong, greedy,
 * slow, many or not allowed.
 */
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/util.h"
#include "tests/lib/harness.h"
#include "tests/unit/rpc_scene.h"
#include "wire/rpc_link.h"
#include "wire/stream.h"

enum {
    MIB = 1024 * 1024
};

/* Ends the connection after the error that has this text. */
static void
assert_ends(struct scene *scene, const char *bytes, size_t size,
            const char *text)
{
    AUTO_FD int peer = peer_connect(scene);
    AUTO_FREE char *expected = libspawn__str_format(
        ERROR("null", "-32600", "%s", "\"code\":\"protocol\"") "EOF", text);

    peer_sends(scene, peer, bytes, size);
    assert_hears(peer, expected);
    assert_log(scene, "conn-ended");
}

/* Covers S6. */
TEST(rpc_line_that_is_no_request__ends_the_connection)
{
    static const struct {
        const char *line;
        const char *text;
    } cases[] = {
        { "", "a message from the peer is empty" },
        { "[]", "a message is not an object" },
        { "7", "a message is not an object" },
        { "{}", "a message is not JSON-RPC 2.0" },
        { "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"echo\"}",
          "a message is not JSON-RPC 2.0" },
        { "{\"jsonrpc\":2.0,\"id\":1,\"method\":\"echo\"}",
          "a message is not JSON-RPC 2.0" },
        { "{\"jsonrpc\":\"2.0\",\"id\":1}", "a request has no method" },
        { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}",
          "a request has no method" },
        { "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}",
          "a request has no method" },
        { "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"echo\"}",
          "the id of a request is no integer and no string" },
        { "{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"echo\"}",
          "the id of a request is no integer and no string" },
        { "{\"jsonrpc\":\"2.0\",\"id\":9223372036854775808,"
          "\"method\":\"echo\"}",
          "the id of a request is no integer and no string" },
        { "{\"jsonrpc\":\"2.0\",\"id\":[1],\"method\":\"echo\"}",
          "the id of a request is no integer and no string" },
    };
    AUTO_SCENE struct scene scene;
    size_t i;

    scene_init(&scene);
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *line = libspawn__str_format("%s\n", cases[i].line);

        assert_ends(&scene, line, strlen(line), cases[i].text);
    }
}

/* Covers S6. */
TEST(rpc_line_that_is_no_json__ends_the_connection)
{
    static const char *const lines[] = {
        "rubbish\n",
        "{\"jsonrpc\":\"2.0\",\"jsonrpc\":\"2.0\"}\n",
        "{\"jsonrpc\":\"\xff\"}\n",
        "{\"jsonrpc\":\"2.0\"} {}\n",
        "{\"jsonrpc\":\n",
        "{\"id\":1e999}\n",
        "\r\n",
    };
    AUTO_SCENE struct scene scene;
    size_t i;

    scene_init(&scene);
    for (i = 0; i < ARRAY_SIZE(lines); i++) {
        AUTO_FD int peer = peer_connect(&scene);
        char heard[1024];
        ssize_t n;

        peer_says(&scene, peer, lines[i]);
        n = recv(peer, heard, sizeof heard - 1, 0);
        ck_assert_int_gt(n, 0);
        heard[n] = '\0';
        assert_contains(heard, "\"code\":\"protocol\"");
        assert_hears(peer, "EOF");
    }
}

TEST(rpc_deep_nesting__ends_the_connection)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;
    AUTO_FREE char *deep = malloc(MIB);

    scene_init(&scene);
    peer = peer_connect(&scene);
    memset(deep, '[', MIB);
    deep[100] = '\n';
    ck_assert(peer_sends(&scene, peer, deep, 101));
    assert_log(&scene, "conn-ended");
}

TEST(rpc_unknown_method_or_wrong_params__are_answered)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;

    scene_init(&scene);
    peer = peer_connect(&scene);
    peer_says(&scene, peer, CALL("1", "fly", "{}") CALL("2", "echo", "[]"));
    assert_hears(peer, ERROR("1", "-32601", "there is no method 'fly'",
                             "\"code\":\"unsupported\"")
                           ERROR("2", "-32602",
                                 "the params of 'echo' are not an object",
                                 "\"code\":\"invalid\""));
    peer_says(&scene, peer, CALL("3", "echo", "{}"));
    assert_hears(peer, RESULT("3", "{}"));
}

TEST(rpc_long_id__ends_the_connection)
{
    AUTO_SCENE struct scene scene;
    AUTO_FREE char *line = libspawn__str_format(
        "{\"jsonrpc\":\"2.0\",\"id\":\"%0200d\",\"method\":\"echo\"}\n", 0);

    scene_init(&scene);
    assert_ends(&scene, line, strlen(line),
                "the id of a request is longer than 128 bytes");
}

/* A request that is 'size' bytes long, and a newline. */
static char *
long_request(size_t size)
{
    static const char before[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"large\","
        "\"params\":{\"size\":1,\"fill\":\"";
    static const char behind[] = "\"}}";

    return libspawn__str_format("%s%0*d%s\n", before,
                                (int)(size - strlen(before) - strlen(behind)),
                                0, behind);
}

TEST(rpc_message_of_the_limit__is_answered)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;
    AUTO_FREE char *line = long_request(MIB);

    ck_assert_uint_eq(strlen(line), MIB + 1);
    scene_init(&scene);
    peer = peer_connect(&scene);
    peer_says(&scene, peer, line);
    assert_hears(peer, RESULT("1", "\"0\""));
}

/* Covers S15. */
TEST(rpc_message_over_the_limit__ends_only_this_connection)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int other = -1;
    AUTO_FREE char *line = long_request(MIB + 1);

    ck_assert_uint_eq(strlen(line), MIB + 2);
    scene_init(&scene);
    other = peer_connect(&scene);
    assert_ends(&scene, line, strlen(line),
                "a message from the peer is longer than 1048576 bytes");
    assert_ends(&scene, line, strlen(line) - 1,
                "a message from the peer is longer than 1048576 bytes");
    peer_says(&scene, other, CALL("1", "echo", "{}"));
    assert_hears(other, RESULT("1", "{}"));
}

TEST(rpc_result_over_the_limit__is_an_error)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;

    scene_init(&scene);
    peer = peer_connect(&scene);
    peer_says(&scene, peer, CALL("1", "large", "{\"size\":1048576}"));
    assert_hears(peer,
                 ERROR("1", "-32007", "a message is longer than 1048576 bytes",
                       "\"code\":\"limit\""));
}

/* Covers S14. */
TEST(rpc_peer_that_never_reads__is_dropped_and_others_served)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int deaf = -1;
    AUTO_FD int peer = -1;
    int n;

    scene_init(&scene);
    deaf = peer_connect(&scene);
    peer = peer_connect(&scene);
    for (n = 0; n < 1000 && !scene.log.size; n++) {
        ck_assert_int_gt(
            send(deaf, CALL("1", "large", "{\"size\":99999}"),
                 sizeof CALL("1", "large", "{\"size\":99999}") - 1,
                 MSG_NOSIGNAL),
            0);
        scene_settle(&scene);
        peer_says(&scene, peer, CALL("2", "echo", "{}"));
        assert_hears(peer, RESULT("2", "{}"));
    }
    /* It is what the kernel keeps for it and what we queue. */
    ck_assert_int_lt(n, LIBSPAWN__RPC_QUEUE_MAX / 100000 + 10);
    assert_log(&scene, "conn-ended");
    ck_assert_uint_eq(libspawn__rpc_server_n_clients(scene.server), 1);
}

/* Covers S14. */
TEST(rpc_notify_to_one_who_never_reads__is_refused_then_ends)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int deaf = -1;
    AUTO_FREE char *text = libspawn__str_format("\"%0500000d\"", 0);
    int rc = 0;
    int n;

    scene_init(&scene);
    deaf = peer_connect(&scene);
    peer_says(&scene, deaf, NOTIFICATION("echo", "{}"));
    for (n = 0; n < 10 && !rc; n++) {
        rc = libspawn__rpc_notify(scene.conn, "n", text, NULL);
    }
    assert_code(rc, LIBSPAWN_ERR_LIMIT);
    assert_log(&scene, "");
    assert_code(libspawn__rpc_notify(scene.conn, "n", text, NULL),
                LIBSPAWN_ERR_GONE);
    scene_settle(&scene);
    assert_log(&scene, "conn-ended");
}

TEST(rpc_slow_reader_of_much__gets_all_of_it)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;
    size_t size = 0;
    static char bytes[1000];

    scene_init(&scene);
    peer = peer_connect(&scene);
    peer_says(&scene, peer, CALL("1", "large", "{\"size\":1000000}"));
    while (!size || bytes[0] != '\n') {
        ssize_t n = recv(peer, bytes, sizeof bytes, 0);

        ck_assert_int_gt(n, 0);
        size += (size_t)n;
        bytes[0] = bytes[n - 1];
        scene_settle(&scene);
    }
    ck_assert_uint_eq(size, 1000000 + sizeof RESULT("1", "\"\"") - 1);
}

TEST(rpc_too_many_calls_without_answer__are_refused)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;
    int i;

    scene_init(&scene);
    peer = peer_connect(&scene);
    for (i = 0; i < LIBSPAWN__RPC_CALLS_MAX; i++) {
        peer_says(&scene, peer, CALL("1", "keep", "{}"));
    }
    assert_hears(peer, "");
    peer_says(&scene, peer, CALL("2", "echo", "{}"));
    assert_hears(peer,
                 ERROR("2", "-32007", "more than 64 calls without answer",
                       "\"code\":\"limit\""));
    scene_answer_kept(&scene);
}

TEST(rpc_too_many_clients__the_last_is_told)
{
    AUTO_SCENE struct scene scene;
    int peers[LIBSPAWN__RPC_CLIENTS_MAX + 1];
    size_t i;

    scene_init(&scene);
    for (i = 0; i < ARRAY_SIZE(peers); i++) {
        peers[i] = peer_connect(&scene);
    }
    assert_hears(peers[LIBSPAWN__RPC_CLIENTS_MAX],
                 ERROR("null", "-32007", "there are 64 clients already",
                       "\"code\":\"limit\"") "EOF");
    libspawn__auto_close(&peers[LIBSPAWN__RPC_CLIENTS_MAX]);
    libspawn__auto_close(&peers[0]);
    scene_settle(&scene);
    peers[0] = peer_connect(&scene);
    peer_says(&scene, peers[0], CALL("1", "echo", "{}"));
    assert_hears(peers[0], RESULT("1", "{}"));
    for (i = 0; i < LIBSPAWN__RPC_CLIENTS_MAX; i++) {
        libspawn__auto_close(&peers[i]);
    }
}

/* In a process of its own, since it gives up its rights for good. */
static int
listen_to_what_a_stranger_hears(void)
{
    char heard[512] = "";
    int fd;

    if (setresuid(65534, 65534, 65534) ||
        libspawn__stream_connect("unix:rpc", &fd, NULL)) {
        return 1;
    }
    if (!harness_wait_readable(fd, 5000) ||
        recv(fd, heard, sizeof heard - 1, 0) <= 0) {
        return 2;
    }
    return strcmp(heard, ERROR("null", "-32005",
                               "user 65534 has no right to connect here",
                               "\"code\":\"denied\""))
               ? 3
               : 0;
}

TEST(rpc_client_of_another_user__is_told_and_left)
{
    AUTO_SCENE struct scene scene;
    pid_t child;
    int status;

    if (getuid() != 0) {
        TEST_SKIP("only root can become somebody else");
    }
    scene_init(&scene);
    ck_assert_int_eq(chmod("rpc", 0666), 0);
    ck_assert_int_eq(chmod(".", 0755), 0);
    child = fork();
    if (!child) {
        _exit(listen_to_what_a_stranger_hears());
    }
    ck_assert(harness_wait_readable(libspawn__loop_fd(scene.loop), 5000));
    scene_settle(&scene);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(libspawn__rpc_server_n_clients(scene.server), 0);
}

TEST(rpc_no_descriptors_left__accepts_when_there_are_some)
{
    AUTO_SCENE struct scene scene;
    struct rlimit old;
    struct rlimit none;
    AUTO_FD int peer = -1;
    struct libspawn_err err;

    scene_init(&scene);
    assert_ok(libspawn__stream_connect("unix:rpc", &peer, &err), &err);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = (struct rlimit){ .rlim_cur = (rlim_t)peer + 1,
                            .rlim_max = old.rlim_max };
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    scene_settle(&scene); /* ends: it does not ask again and again */
    ck_assert_uint_eq(libspawn__rpc_server_n_clients(scene.server), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);

    ck_assert(harness_wait_readable(libspawn__loop_fd(scene.loop), 5000));
    scene_settle(&scene);
    ck_assert_uint_eq(libspawn__rpc_server_n_clients(scene.server), 1);
}

TEST(rpc_idle_connection_after_much__keeps_no_buffers)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;
    AUTO_FREE char *line = long_request(500000);
    size_t before;
    int i;

    scene_init(&scene);
    peer = peer_connect(&scene);
    before = mallinfo2().uordblks;
    for (i = 0; i < 2; i++) {
        peer_says(&scene, peer, line);
        assert_hears(peer, RESULT("1", "\"0\""));
    }
    ck_assert_uint_lt(mallinfo2().uordblks, before + 10000);
}

TEST_MAIN("rpc_server_bad")
