/*
 * The QMP client, and its blocking convenience, against the real QEMU, which
 * is given a socket that we bound and may have connected to before it runs.
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/pidref.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/lib/harness.h"
#include "wire/qmp.h"
#include "wire/stream.h"

enum {
    SESSION_MS = 20000,
    QEMU_LISTENER_FD = 20,
    TEST_S = 60
};

/* ---- QEMU -------------------------------------------------------------- */

struct qemu {
    struct libspawn__pidref ref;
};

static void
qemu_dispose(struct qemu *qemu)
{
    libspawn__pidref_signal(&qemu->ref, SIGKILL, NULL);
    ck_assert_int_eq(waitpid(qemu->ref.id.pid, NULL, 0), qemu->ref.id.pid);
    libspawn__pidref_dispose(&qemu->ref);
}
#define AUTO_QEMU AUTO(qemu_dispose)

static int
listen_for_qemu(void)
{
    struct libspawn_err err;
    int fd = -1;

    assert_ok(libspawn__stream_listen("punix:q", 0600, &fd, &err), &err);
    return fd;
}

/* Takes the listener. */
static struct qemu
start_qemu(int listener)
{
    const char *const argv[] = {
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-machine",
        "pc",
        "-m",
        "8",
        "-nodefaults",
        "-no-user-config",
        "-device",
        "VGA",
        "-display",
        "none",
        "-S",
        "-sandbox",
        "on",
        "-chardev",
        "socket,id=q,fd=20,server=on,wait=off",
        "-mon",
        "chardev=q,mode=control",
        NULL,
    };
    struct qemu qemu = { LIBSPAWN__PIDREF_INIT };
    posix_spawn_file_actions_t actions;
    struct libspawn_err err;
    pid_t pid;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, listener, QEMU_LISTENER_FD);
    ck_assert_int_eq(posix_spawnp(&pid, argv[0], &actions, NULL,
                                  (char *const *)(uintptr_t)argv, environ),
                     0);
    posix_spawn_file_actions_destroy(&actions);
    close(listener);
    assert_ok(libspawn__pidref_from_pid(pid, &qemu.ref, &err), &err);
    return qemu;
}

static struct libspawn__qmp_session *
open_session(void)
{
    struct libspawn__qmp_session *session = NULL;
    struct libspawn_err err;

    assert_ok(libspawn__qmp_session_open("q", SESSION_MS, &session, &err),
              &err);
    return session;
}

static struct libspawn__json *
run(struct libspawn__qmp_session *session, const char *command,
    const char *arguments_json, int fd)
{
    struct libspawn__json *result = NULL;
    struct libspawn_err err;

    assert_ok(libspawn__qmp_session_run(session, command, arguments_json, fd,
                                        &result, &err),
              &err);
    return result;
}

static void
run_only(struct libspawn__qmp_session *session, const char *command,
         const char *arguments_json, int fd)
{
    libspawn__json_free(run(session, command, arguments_json, fd));
}

static void
assert_status(struct libspawn__qmp_session *session, const char *expected)
{
    AUTO_JSON struct libspawn__json *result =
        run(session, "query-status", NULL, -1);
    const char *status =
        libspawn__json_string(libspawn__json_member(result, "status"));

    ck_assert_ptr_nonnull(status);
    ck_assert_str_eq(status, expected);
}

/* ---- The blocking session ---------------------------------------------- */

TEST_TIMEOUT(qmp_qemu_session__negotiates_and_runs_commands, TEST_S)
{
    AUTO_QEMU struct qemu qemu = start_qemu(listen_for_qemu());
    AUTO_QMP_SESSION struct libspawn__qmp_session *session = open_session();

    assert_status(session, "prelaunch");
    run_only(session, "cont", NULL, -1);
    assert_status(session, "running");
    run_only(session, "stop", NULL, -1);
    assert_status(session, "paused");
}

TEST_TIMEOUT(qmp_qemu_query_chardev__names_our_socket, TEST_S)
{
    AUTO_QEMU struct qemu qemu = start_qemu(listen_for_qemu());
    AUTO_QMP_SESSION struct libspawn__qmp_session *session = open_session();
    AUTO_JSON struct libspawn__json *chardevs =
        run(session, "query-chardev", NULL, -1);
    const struct libspawn__json *first = libspawn__json_item(chardevs, 0);

    ck_assert_uint_eq(libspawn__json_n_items(chardevs), 1);
    ck_assert_str_eq(
        libspawn__json_string(libspawn__json_member(first, "label")), "q");
    ck_assert(libspawn__json_bool(
        libspawn__json_member(first, "frontend-open"), false));
}

TEST_TIMEOUT(qmp_qemu_unknown_command__is_unsupported, TEST_S)
{
    AUTO_QEMU struct qemu qemu = start_qemu(listen_for_qemu());
    AUTO_QMP_SESSION struct libspawn__qmp_session *session = open_session();
    struct libspawn__json *result = NULL;
    struct libspawn_err err;

    assert_code(
        libspawn__qmp_session_run(session, "no-such", NULL, -1, &result, &err),
        LIBSPAWN_ERR_UNSUPPORTED);
    ck_assert_str_eq(err.text, "QEMU's monitor at 'q': QEMU refused "
                               "'no-such': The command no-such has not been "
                               "found");
    ck_assert_ptr_null(result);
    /* The session survives it. */
    assert_status(session, "prelaunch");
}

TEST_TIMEOUT(qmp_qemu_wrong_arguments__are_invalid, TEST_S)
{
    AUTO_QEMU struct qemu qemu = start_qemu(listen_for_qemu());
    AUTO_QMP_SESSION struct libspawn__qmp_session *session = open_session();
    struct libspawn_err err;

    assert_code(
        libspawn__qmp_session_run(session, "screendump", "{}", -1, NULL, &err),
        LIBSPAWN_ERR_INVALID);
    assert_contains(err.text, "'filename'");
}

TEST_TIMEOUT(qmp_qemu_session_over_tcp__negotiates_and_runs_commands, TEST_S)
{
    AUTO_QMP_SESSION struct libspawn__qmp_session *session = NULL;
    AUTO_FREE char *name = NULL;
    struct libspawn_err err;
    int listener;

    assert_ok(libspawn__stream_listen_anywhere("ptcp:0", 0, &listener, &err),
              &err);
    assert_ok(libspawn__stream_bound_name(listener, &name, &err), &err);
    {
        AUTO_QEMU struct qemu qemu = start_qemu(listener);

        assert_ok(libspawn__qmp_session_connect(name, SESSION_MS, &session,
                                                &err),
                  &err);
        assert_status(session, "prelaunch");
    }
    assert_code(libspawn__qmp_session_run(session, "query-status", NULL, -1,
                                          NULL, &err),
                LIBSPAWN_ERR_GONE);
    assert_contains(err.text, name);
}

TEST_TIMEOUT(qmp_qemu_second_client__waits_until_the_first_leaves, TEST_S)
{
    AUTO_QEMU struct qemu qemu = start_qemu(listen_for_qemu());
    struct libspawn__qmp_session *first = open_session();
    AUTO_QMP_SESSION struct libspawn__qmp_session *second = NULL;
    struct libspawn_err err;

    assert_code(libspawn__qmp_session_open("q", 200, &second, &err),
                LIBSPAWN_ERR_TIMEOUT);
    ck_assert_str_eq(err.text, "QEMU's monitor at 'q' did not greet within "
                               "200 ms; it may be serving another client");
    libspawn__qmp_session_close(first);
    second = open_session();
    assert_status(second, "prelaunch");
}

TEST_TIMEOUT(qmp_qemu_that_hangs__times_out_with_the_command, TEST_S)
{
    AUTO_QEMU struct qemu qemu = start_qemu(listen_for_qemu());
    AUTO_QMP_SESSION struct libspawn__qmp_session *session = NULL;
    struct libspawn_err err;

    /* The first one waits for QEMU to start, the second one not. */
    session = open_session();
    libspawn__qmp_session_close(TAKE_PTR(session));
    assert_ok(libspawn__qmp_session_open("q", 2000, &session, &err), &err);
    assert_status(session, "prelaunch");
    assert_ok(libspawn__pidref_signal(&qemu.ref, SIGSTOP, &err), &err);
    assert_code(libspawn__qmp_session_run(session, "query-status", NULL, -1,
                                          NULL, &err),
                LIBSPAWN_ERR_TIMEOUT);
    ck_assert_str_eq(err.text, "QEMU's monitor at 'q' did not answer "
                               "'query-status' within 2000 ms");
    /* The time is used up, also for what comes after. */
    assert_code(libspawn__qmp_session_run(session, "query-version", NULL, -1,
                                          NULL, &err),
                LIBSPAWN_ERR_TIMEOUT);
}

TEST_TIMEOUT(qmp_qemu_that_dies__is_gone, TEST_S)
{
    AUTO_QEMU struct qemu qemu = start_qemu(listen_for_qemu());
    AUTO_QMP_SESSION struct libspawn__qmp_session *session = open_session();
    AUTO_QMP_SESSION struct libspawn__qmp_session *late = NULL;
    struct libspawn_err err;

    assert_ok(libspawn__pidref_signal(&qemu.ref, SIGKILL, &err), &err);
    assert_code(libspawn__qmp_session_run(session, "query-status", NULL, -1,
                                          NULL, &err),
                LIBSPAWN_ERR_GONE);
    assert_contains(err.text, "QEMU's monitor at 'q': ");
    assert_code(libspawn__qmp_session_run(session, "query-status", NULL, -1,
                                          NULL, &err),
                LIBSPAWN_ERR_GONE);
    assert_ok(libspawn__pidref_wait(&qemu.ref, SESSION_MS, &err), &err);
    assert_code(libspawn__qmp_session_open("q", SESSION_MS, &late, &err),
                LIBSPAWN_ERR_GONE);
    ck_assert_str_eq(err.text, "connecting to 'q': Connection refused");
}

/* ---- Descriptors and screenshots --------------------------------------- */

/* Gives QEMU a descriptor; returns the /dev/fdset path that opens it. */
static char *
give_fd(struct libspawn__qmp_session *session, int fd)
{
    AUTO_JSON struct libspawn__json *result = run(session, "add-fd", NULL, fd);
    int64_t set = -1;

    ck_assert(libspawn__json_integer(libspawn__json_member(result, "fdset-id"),
                                     &set));
    return libspawn__str_format("/dev/fdset/%d", (int)set);
}

static int
screendump(struct libspawn__qmp_session *session, const char *path,
           struct libspawn_err *err)
{
    AUTO_FREE char *arguments =
        libspawn__str_format("{\"filename\":\"%s\",\"format\":\"png\"}", path);

    return libspawn__qmp_session_run(session, "screendump", arguments, -1,
                                     NULL, err);
}

TEST_TIMEOUT(qmp_qemu_screendump_into_a_descriptor__is_png, TEST_S)
{
    AUTO_QEMU struct qemu qemu = start_qemu(listen_for_qemu());
    AUTO_QMP_SESSION struct libspawn__qmp_session *session = open_session();
    AUTO_FD int fd = open("shot", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    AUTO_FREE char *path = give_fd(session, fd);
    AUTO_FREE char *bytes = NULL;
    struct libspawn_err err;

    assert_ok(screendump(session, path, &err), &err);
    bytes = harness_read_file("shot");
    ck_assert_mem_eq(bytes, "\x89PNG\r\n", 6);
}

/* QEMU looks for a descriptor of the very mode that it would open with. */
TEST_TIMEOUT(qmp_qemu_screendump_into_a_readable_descriptor__is_invalid,
             TEST_S)
{
    AUTO_QEMU struct qemu qemu = start_qemu(listen_for_qemu());
    AUTO_QMP_SESSION struct libspawn__qmp_session *session = open_session();
    AUTO_FD int fd = open("shot", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    AUTO_FREE char *path = give_fd(session, fd);
    struct libspawn_err err;

    assert_code(screendump(session, path, &err), LIBSPAWN_ERR_INVALID);
    assert_contains(err.text, "Permission denied");
}

/* ---- The client on a loop ---------------------------------------------- */

struct client {
    struct libspawn__loop *loop;
    struct libspawn__qmp *qmp;
    struct libspawn__buf log;
    bool closed;
};

static void
note(struct client *client, const char *word)
{
    libspawn__buf_printf(&client->log, "%s%s", client->log.size ? " " : "",
                         word);
}

static void
on_ready(void *user)
{
    note(user, "ready");
}

static void
on_event(void *user, const char *name, const struct libspawn__json *data)
{
    (void)data;
    note(user, name);
}

static void
on_closed(void *user, const struct libspawn_err *err)
{
    struct client *client = user;

    note(client, libspawn_code_name(err->code));
    client->closed = true;
}

static void
on_reply(void *user, const struct libspawn__json *result,
         const struct libspawn_err *err)
{
    (void)result;
    note(user, err ? libspawn_code_name(err->code) : "done");
}

static void
client_dispose(struct client *client)
{
    libspawn__qmp_free(client->qmp);
    libspawn__loop_free(client->loop);
    libspawn__buf_dispose(&client->log);
}
#define AUTO_CLIENT AUTO(client_dispose)

static void
client_connect(struct client *client)
{
    const struct libspawn__qmp_callbacks callbacks = { on_ready, on_event,
                                                       on_closed, client };
    struct libspawn_err err;
    int fd;

    assert_ok(libspawn__stream_connect("unix:q", &fd, &err), &err);
    assert_ok(libspawn__loop_new(&client->loop, &err), &err);
    assert_ok(
        libspawn__qmp_new(client->loop, fd, &callbacks, &client->qmp, &err),
        &err);
}

static void
client_command(struct client *client, const char *command, int fd)
{
    struct libspawn_err err;

    assert_ok(libspawn__qmp_command(client->qmp, command, NULL, fd, on_reply,
                                    client, &err),
              &err);
}

static void
client_run_until_closed(struct client *client)
{
    int64_t deadline_ms = libspawn__clock_now_ms() + SESSION_MS;

    while (!client->closed) {
        ck_assert_int_lt(libspawn__clock_now_ms(), deadline_ms);
        assert_ok(libspawn__loop_wait(client->loop, SESSION_MS, NULL), NULL);
    }
}

static void
client_run_until(struct client *client, const char *log)
{
    int64_t deadline_ms = libspawn__clock_now_ms() + SESSION_MS;

    while (!client->log.size || strcmp(client->log.data, log) != 0) {
        ck_assert_int_lt(libspawn__clock_now_ms(), deadline_ms);
        assert_ok(libspawn__loop_wait(client->loop, SESSION_MS, NULL), NULL);
    }
}

TEST_TIMEOUT(qmp_qemu_client_connected_before_qemu_runs__is_served, TEST_S)
{
    AUTO_CLIENT struct client client = { 0 };
    int listener = listen_for_qemu();

    client_connect(&client);
    client_command(&client, "cont", -1);
    client_command(&client, "stop", -1);
    client_command(&client, "quit", -1);
    {
        AUTO_QEMU struct qemu qemu = start_qemu(listener);

        client_run_until_closed(&client);
        ck_assert_str_eq(client.log.data, "ready RESUME done STOP done "
                                          "SHUTDOWN done gone");
    }
    /* QEMU removes the path that a listener was bound to, but ours was bound
     * to a temporary one: a successor's socket under this name is safe. */
    ck_assert_int_eq(access("q", F_OK), 0);
}

/* The first before QEMU runs, the others while it does. */
TEST_TIMEOUT(qmp_qemu_commands_sent_ahead_of_the_greeting__are_done, TEST_S)
{
    int listener = listen_for_qemu();
    AUTO_CLIENT struct client early = { 0 };
    struct qemu qemu;
    int i;

    client_connect(&early);
    client_command(&early, "query-status", -1);
    libspawn__qmp_send_ahead(early.qmp);
    qemu = start_qemu(listener);
    client_run_until(&early, "ready done");
    client_dispose(&early);
    early = (struct client){ 0 };
    for (i = 0; i < 20; i++) {
        AUTO_CLIENT struct client client = { 0 };

        client_connect(&client);
        client_command(&client, "query-status", -1);
        libspawn__qmp_send_ahead(client.qmp);
        client_run_until(&client, "ready done");
    }
    qemu_dispose(&qemu);
}

/* All in one write: each descriptor has to reach its own command. */
TEST_TIMEOUT(qmp_qemu_descriptors_sent_at_once__all_arrive, TEST_S)
{
    AUTO_CLIENT struct client client = { 0 };
    AUTO_QEMU struct qemu qemu = start_qemu(listen_for_qemu());
    int i;

    client_connect(&client);
    for (i = 0; i < 5; i++) {
        AUTO_FD int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        client_command(&client, "add-fd", fd);
        client_command(&client, "query-fdsets", -1);
    }
    client_command(&client, "add-fd", -1);
    client_command(&client, "quit", -1);
    client_run_until_closed(&client);
    ck_assert_str_eq(client.log.data,
                     "ready done done done done done done done done done "
                     "done invalid SHUTDOWN done gone");
}

static const char *
qemu_is_missing(void)
{
    return access("/usr/bin/qemu-system-x86_64", X_OK)
               ? "qemu-system-x86_64 is not installed"
               : NULL;
}

TEST_MAIN_UNLESS("qmp_qemu", qemu_is_missing)
