/*
 * The control RPC over every kind of stream: unix sockets, TCP over IPv4 and
 * over IPv6, and listeners that were inherited.  Covers S7.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "tests/lib/harness.h"
#include "tests/unit/rpc_scene.h"
#include "wire/stream.h"

#define GREETING RESULT("1", "{\"protocol\":1}")
#define HELLO CALL("1", "hello", "{\"protocol\":1}")

/* One kind of stream, and a client whose server is played at 'peer'. */
struct stage {
    struct scene scene;
    bool is_unix;
    int listener;
    char *name;
    int peer;
};

static void
stage_dispose(struct stage *stage)
{
    scene_dispose(&stage->scene);
    libspawn__auto_close(&stage->listener);
    libspawn__auto_close(&stage->peer);
    free(stage->name);
    unlink("listener");
}
#define AUTO_STAGE AUTO(stage_dispose)

static const char *const passive_names[] = { "punix:listener", "ptcp:0",
                                             "ptcp:0:[::1]" };
enum {
    N_KINDS = ARRAY_SIZE(passive_names)
};

/* A listener of that kind; false where there is no IPv6. */
static bool
stage_init(struct stage *stage, size_t kind)
{
    struct libspawn_err err;
    int rc;

    *stage = (struct stage){ .is_unix = !kind, .listener = -1, .peer = -1 };
    scene_init(&stage->scene);
    rc = libspawn__stream_listen_anywhere(passive_names[kind], 0600,
                                          &stage->listener, &err);
    if (rc &&
        (err.sys_errno == EADDRNOTAVAIL || err.sys_errno == EAFNOSUPPORT)) {
        return false;
    }
    assert_ok(rc, &err);
    if (stage->is_unix) {
        stage->name = strdup("unix:listener");
    } else {
        assert_ok(
            libspawn__stream_bound_name(stage->listener, &stage->name, &err),
            &err);
    }
    return true;
}

static int
stage_open(struct stage *stage)
{
    struct libspawn_err err;
    int fd = -1;

    assert_ok(libspawn__stream_open(stage->name, 5000, &fd, &err), &err);
    return fd;
}

static void
stage_accept(struct stage *stage)
{
    struct libspawn_err err;

    ck_assert(harness_wait_readable(stage->listener, 5000));
    assert_ok(libspawn__stream_accept(stage->listener, &stage->peer, &err),
              &err);
}

/* A client that has said hello, to whoever is at 'peer'. */
static bool
stage_init_connected(struct stage *stage, size_t kind)
{
    if (!stage_init(stage, kind)) {
        return false;
    }
    scene_take(&stage->scene, stage_open(stage), -1);
    stage_accept(stage);
    return true;
}

static void
stage_leave(struct stage *stage)
{
    libspawn__auto_close(&stage->peer);
    stage->peer = -1;
}

/* It ended with one of these. */
static void
assert_ended(struct stage *stage, const char *const words[])
{
    scene_wait_log(&stage->scene, "ended");
    while (*words && strcmp(*words, stage->scene.log.data)) {
        words++;
    }
    ck_assert_msg(*words, "the log is '%s'", stage->scene.log.data);
}

static const char *const on_broken_pipe[] = { "ended:gone:EPIPE", NULL };
static const char *const on_reset[] = { "ended:gone:EPIPE",
                                        "ended:gone:ECONNRESET", NULL };

/* ---- What a server may do ---------------------------------------------- */

/* Covers S1. */
TEST(rpc_listener_closed_before_accept__is_one_of_few_errors)
{
    size_t kind;

    for (kind = 0; kind < N_KINDS; kind++) {
        AUTO_STAGE struct stage stage;
        int fd;

        if (stage_init(&stage, kind)) {
            fd = stage_open(&stage);
            libspawn__auto_close(&stage.listener);
            stage.listener = -1;
            scene_take(&stage.scene, fd, -1);
            assert_ended(&stage, stage.is_unix ? on_broken_pipe : on_reset);
        }
    }
}

/* Covers S2. */
TEST(rpc_accepted_and_closed__is_a_reset_or_a_broken_pipe)
{
    size_t kind;

    for (kind = 0; kind < N_KINDS; kind++) {
        AUTO_STAGE struct stage stage;

        if (stage_init_connected(&stage, kind)) {
            stage_leave(&stage);
            assert_ended(&stage, on_reset);
        }
    }
}

/* Covers S3. */
TEST(rpc_hello_read_then_closed__is_a_reset_or_a_broken_pipe)
{
    size_t kind;

    for (kind = 0; kind < N_KINDS; kind++) {
        AUTO_STAGE struct stage stage;

        if (stage_init_connected(&stage, kind)) {
            scene_wait_hears(&stage.scene, stage.peer, HELLO);
            stage_leave(&stage);
            assert_ended(&stage, on_reset);
        }
    }
}

/* Covers S4. */
TEST(rpc_greeted_then_closed__is_an_orderly_end)
{
    size_t kind;

    for (kind = 0; kind < N_KINDS; kind++) {
        AUTO_STAGE struct stage stage;

        if (stage_init_connected(&stage, kind)) {
            scene_wait_hears(&stage.scene, stage.peer, HELLO);
            peer_says(&stage.scene, stage.peer, GREETING);
            scene_wait_log(&stage.scene, "ready");
            stage_leave(&stage);
            scene_wait_log(&stage.scene, "ended");
            assert_log(&stage.scene, "ready ended:gone");
        }
    }
}

/* Covers S5. */
TEST(rpc_longer_greeting__is_accepted)
{
    size_t kind;

    for (kind = 0; kind < N_KINDS; kind++) {
        AUTO_STAGE struct stage stage;

        if (stage_init_connected(&stage, kind)) {
            peer_says(&stage.scene, stage.peer,
                      RESULT("1", "{\"protocol\":1,\"features\":[1,2]}"));
            scene_wait_log(&stage.scene, "ready");
        }
    }
}

/* Covers S6. */
TEST(rpc_wrong_greeting__is_a_protocol_error)
{
    static const char *const greetings[] = {
        "{\"jsonrpc\":\"2.0\",\"method\":\"hello\",\"id\":1}\n",
        "\n",
        RESULT("1", "{\"protocol\":0}"),
    };
    static const char *const on_nonsense[] = { "ended:protocol", NULL };
    size_t kind;
    size_t i;

    for (kind = 0; kind < N_KINDS * ARRAY_SIZE(greetings); kind++) {
        AUTO_STAGE struct stage stage;

        i = kind / N_KINDS;
        if (stage_init_connected(&stage, kind % N_KINDS)) {
            peer_says(&stage.scene, stage.peer, greetings[i]);
            assert_ended(&stage, on_nonsense);
        }
    }
}

/* ---- Connections that are not made at once ----------------------------- */

/* A full queue: the kernel answers nobody any more. */
static void
fill_queue(struct stage *stage, int fds[2])
{
    size_t i;

    ck_assert_int_eq(listen(stage->listener, 0), 0);
    for (i = 0; i < 2; i++) {
        assert_ok(libspawn__stream_connect(stage->name, &fds[i], NULL), NULL);
    }
}

TEST(rpc_unfinished_connection__is_used_like_any_other)
{
    AUTO_STAGE struct stage stage;
    int fds[2];
    int fd;

    ck_assert(stage_init(&stage, 1));
    fill_queue(&stage, fds);
    assert_ok(libspawn__stream_connect(stage.name, &fd, NULL), NULL);
    assert_code(libspawn__stream_finish_connect(fd, NULL), LIBSPAWN_ERR_BUSY);
    scene_take(&stage.scene, fd, 20);
    scene_wait_log(&stage.scene, "ended");
    assert_log(&stage.scene, "ended:timeout");
    libspawn__auto_close(&fds[0]);
    libspawn__auto_close(&fds[1]);
}

TEST(rpc_refused_connection__ends_with_the_reason_and_keeps_it)
{
    AUTO_STAGE struct stage stage;
    struct libspawn_err err;
    int fd;

    ck_assert(stage_init(&stage, 1));
    libspawn__auto_close(&stage.listener);
    stage.listener = -1;
    if (libspawn__stream_connect(stage.name, &fd, &err)) {
        ck_assert_int_eq(err.sys_errno, ECONNREFUSED); /* found out at once */
        return;
    }
    scene_take(&stage.scene, fd, -1);
    scene_wait_log(&stage.scene, "ended");
    assert_log(&stage.scene, "ended:gone:ECONNREFUSED");
    assert_code(libspawn__rpc_call(stage.scene.client, "echo", NULL, -1, NULL,
                                   NULL, &err),
                LIBSPAWN_ERR_GONE);
    ck_assert_int_eq(err.sys_errno, ECONNREFUSED);
}

/* ---- Our own server ---------------------------------------------------- */

static bool
serve(struct stage *stage, size_t kind)
{
    if (!stage_init(stage, kind)) {
        return false;
    }
    libspawn__auto_close(&stage->listener);
    stage->listener = -1;
    scene_serve(&stage->scene, kind ? passive_names[kind] : "punix:rpc",
                kind > 0);
    return true;
}

/* Covers S12. */
TEST(rpc_over_every_kind__has_results_errors_and_notifications)
{
    size_t kind;

    for (kind = 0; kind < N_KINDS; kind++) {
        AUTO_STAGE struct stage stage;
        struct scene *scene = &stage.scene;

        if (serve(&stage, kind)) {
            scene_connect(scene, scene->name);
            scene_call(scene, "echo", "{\"a\":1}");
            scene_call(scene, "refuse", NULL);
            scene_wait_log(scene, "not-found");
            libspawn__rpc_notify(scene->conn, "note", NULL, NULL);
            scene_wait_log(scene, "note");
            assert_log(scene, "{\"a\":1} not-found note");
        }
    }
}

/* Covers S13. */
TEST(rpc_over_every_kind_by_byte_and_at_once__is_the_same)
{
    static const char text[] = CALL("1", "echo", "{}")
        CALL("2", "echo", "{\"a\":1}") CALL("3", "echo", "{}");
    static const char answers[] = RESULT("1", "{}") RESULT("2", "{\"a\":1}")
        RESULT("3", "{}");
    size_t kind;

    for (kind = 0; kind < N_KINDS; kind++) {
        AUTO_STAGE struct stage stage;
        size_t i;

        if (serve(&stage, kind)) {
            stage.peer = peer_connect(&stage.scene);
            peer_says(&stage.scene, stage.peer, text);
            scene_wait_hears(&stage.scene, stage.peer, answers);
            for (i = 0; text[i]; i++) {
                peer_sends(&stage.scene, stage.peer, text + i, 1);
            }
            scene_wait_hears(&stage.scene, stage.peer, answers);
        }
    }
}

/* Covers S14. */
TEST(rpc_over_every_kind_without_reading__is_dropped_at_the_limit)
{
    static const char text[] = CALL("1", "large", "{\"size\":900000}");
    size_t kind;

    for (kind = 0; kind < N_KINDS; kind++) {
        AUTO_STAGE struct stage stage;
        int n = 0;

        if (serve(&stage, kind)) {
            stage.peer = peer_connect(&stage.scene);
            while (!stage.scene.log.size && n++ < 100) {
                send(stage.peer, text, sizeof text - 1, MSG_NOSIGNAL);
                assert_ok(libspawn__loop_wait(stage.scene.loop, 10, NULL),
                          NULL);
            }
            assert_log(&stage.scene, "conn-ended");
        }
    }
}

/* Covers S15. */
TEST(rpc_over_every_kind_over_the_limit__ends_and_the_server_lives)
{
    AUTO_FREE char *line = libspawn__str_format("%01048577d", 0);
    size_t kind;

    for (kind = 0; kind < N_KINDS; kind++) {
        AUTO_STAGE struct stage stage;

        if (serve(&stage, kind)) {
            stage.peer = peer_connect(&stage.scene);
            peer_sends(&stage.scene, stage.peer, line, strlen(line));
            scene_wait_log(&stage.scene, "conn-ended");
            assert_log(&stage.scene, "conn-ended");
            scene_connect(&stage.scene, stage.scene.name);
        }
    }
}

/* Covers S10. */
TEST(rpc_over_an_inherited_listener__answers)
{
    size_t kind;

    for (kind = 0; kind < N_KINDS; kind++) {
        AUTO_STAGE struct stage stage;
        AUTO_FREE char *number = NULL;

        if (stage_init(&stage, kind)) {
            number = libspawn__str_format("pfd:%d", stage.listener);
            scene_serve(&stage.scene, number, kind > 0);
            stage.listener = -1; /* it is the server's now */
            scene_connect(&stage.scene, stage.name);
            scene_call(&stage.scene, "echo", "{}");
            scene_wait_log(&stage.scene, "{}");
        }
    }
}

/* The reason arrives although the server left without reading the hello. */
TEST(rpc_one_client_too_many__learns_why)
{
    size_t kind;
    size_t i;

    for (kind = 0; kind < N_KINDS; kind++) {
        AUTO_STAGE struct stage stage;
        int peers[LIBSPAWN__RPC_CLIENTS_MAX];
        struct libspawn_err err;
        int fd;

        if (!serve(&stage, kind)) {
            continue;
        }
        for (i = 0; i < ARRAY_SIZE(peers); i++) {
            peers[i] = peer_connect(&stage.scene);
        }
        assert_ok(libspawn__stream_open(stage.scene.name, 5000, &fd, &err),
                  &err);
        scene_take(&stage.scene, fd, -1);
        scene_wait_log(&stage.scene, "ended");
        assert_log(&stage.scene, "ended:limit");
        for (i = 0; i < ARRAY_SIZE(peers); i++) {
            close(peers[i]);
        }
    }
}

TEST(rpc_over_a_connected_descriptor__answers)
{
    AUTO_SCENE struct scene scene;
    AUTO_FREE char *number = NULL;

    scene_init(&scene);
    number = libspawn__str_format("fd:%d", peer_connect(&scene));
    scene_connect(&scene, number);
}

TEST(rpc_from_the_network__is_nobody_known)
{
    AUTO_STAGE struct stage stage;

    ck_assert(serve(&stage, 1));
    scene_connect(&stage.scene, stage.scene.name);
    scene_call(&stage.scene, "echo", NULL);
    scene_wait_log(&stage.scene, "null");
    ck_assert_int_eq(libspawn__rpc_conn_pid(stage.scene.conn), 0);
    ck_assert_uint_eq(libspawn__rpc_conn_uid(stage.scene.conn), (uid_t)-1);
}

TEST(rpc_from_the_network_where_peers_are_asked__is_refused)
{
    AUTO_STAGE struct stage stage;

    ck_assert(stage_init(&stage, 1));
    scene_serve(&stage.scene, "ptcp:0", false);
    stage.peer = peer_connect(&stage.scene);
    scene_wait_hears(&stage.scene, stage.peer,
                     ERROR("null", "-32601",
                           "the peer is not a process of this host",
                           "\"code\":\"unsupported\"") "EOF");
}

TEST_MAIN("rpc_transports")
