/*
 * The blocking client of the control RPC, against a server in a process of its
 * own, and against what only looks like one.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/lib/harness.h"
#include "tests/unit/rpc_scene.h"
#include "wire/stream.h"

/* Serves until it is killed. */
static void
serve(void)
{
    struct scene scene;

    scene_init(&scene);
    while (!libspawn__loop_wait(scene.loop, -1, NULL)) {
    }
}

struct server {
    pid_t pid;
};

static void
server_dispose(struct server *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
}
#define AUTO_SERVER AUTO(server_dispose)

static bool
is_there(void *user)
{
    (void)user;
    return access("rpc", F_OK) == 0;
}

static struct server
start_server(void)
{
    struct server server = { fork() };

    if (!server.pid) {
        serve();
        _exit(1);
    }
    ck_assert(harness_wait_until(is_there, NULL, 5000));
    return server;
}

static struct libspawn__rpc_session *
open_session(void)
{
    struct libspawn__rpc_session *session = NULL;
    struct libspawn_err err;

    assert_ok(libspawn__rpc_session_open("unix:rpc", 5000, &session, &err),
              &err);
    return session;
}

/* Covers S12. */
TEST(rpc_session_call__returns_the_result)
{
    AUTO_SERVER struct server server = start_server();
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = open_session();
    AUTO_JSON struct libspawn__json *result = NULL;
    struct libspawn_err err;
    int64_t value = 0;

    assert_ok(libspawn__rpc_session_call(session, "echo", "{\"a\":7}", 5000,
                                         &result, &err),
              &err);
    libspawn__json_integer(libspawn__json_member(result, "a"), &value);
    ck_assert_int_eq(value, 7);
    assert_ok(
        libspawn__rpc_session_call(session, "echo", NULL, 5000, NULL, &err),
        &err);
}

/* Covers S12. */
TEST(rpc_session_refused__returns_code_sentence_and_errno)
{
    AUTO_SERVER struct server server = start_server();
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = open_session();
    struct libspawn_err err;

    assert_code(
        libspawn__rpc_session_call(session, "refuse", NULL, 5000, NULL, &err),
        LIBSPAWN_ERR_NOT_FOUND);
    ck_assert_str_eq(err.text, "looking for 'it': No such file or directory");
    ck_assert_int_eq(err.sys_errno, ENOENT);
}

TEST(rpc_session_without_answer__returns_at_the_deadline_and_goes_on)
{
    AUTO_SERVER struct server server = start_server();
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = open_session();
    struct libspawn_err err;

    assert_code(
        libspawn__rpc_session_call(session, "keep", NULL, 30, NULL, &err),
        LIBSPAWN_ERR_TIMEOUT);
    assert_contains(err.text, "'keep' got no answer in 30 ms");
    assert_ok(
        libspawn__rpc_session_call(session, "echo", NULL, 5000, NULL, &err),
        &err);
}

TEST(rpc_session_whose_server_leaves__returns_gone_then_and_later)
{
    AUTO_SERVER struct server server = start_server();
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = open_session();
    struct libspawn_err err;

    assert_code(
        libspawn__rpc_session_call(session, "quit", NULL, 5000, NULL, &err),
        LIBSPAWN_ERR_GONE);
    assert_code(
        libspawn__rpc_session_call(session, "echo", NULL, 5000, NULL, &err),
        LIBSPAWN_ERR_GONE);
}

TEST(rpc_session_with_nobody__says_so)
{
    struct libspawn__rpc_session *session = NULL;
    struct libspawn_err err;

    assert_code(libspawn__rpc_session_open("unix:none", 100, &session, &err),
                LIBSPAWN_ERR_NOT_FOUND);
    ck_assert_ptr_null(session);
    assert_contains(err.text, "none");
}

TEST(rpc_session_with_somebody_mute__gives_up_at_the_deadline)
{
    struct libspawn__rpc_session *session = NULL;
    struct libspawn_err err;
    AUTO_FD int listener = -1;
    int64_t start_ms = libspawn__clock_now_ms();

    assert_ok(libspawn__stream_listen("punix:rpc", 0600, &listener, &err),
              &err);
    assert_code(libspawn__rpc_session_open("unix:rpc", 50, &session, &err),
                LIBSPAWN_ERR_TIMEOUT);
    ck_assert_int_ge(libspawn__clock_now_ms() - start_ms, 50);
    ck_assert_int_lt(libspawn__clock_now_ms() - start_ms, 5000);
    assert_contains(err.text, "'unix:rpc'");
}

TEST_MAIN("rpc_session")
