/*
 * What can be asked of the supervisor that xl create leaves behind, and told
 * by it: docs/PROTOCOLS.md, "Methods of guest-supervisor".
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/cli/supervised_story.h"
#include "wire/rpc_client.h"
#include "wire/stream.h"

#define G "tale"

/* A guest that runs. */
static void
begin(const char *lines, const char *model)
{
    supervised_begin();
    supervised_write_config(G, lines);
    supervised_set_model(G, model);
    xl_ok("create", G ".cfg");
    supervised_await_state(G, "admitted");
}

static void
end(void)
{
    xl_ok("destroy", G);
    ck_assert(!supervised_is(G));
}

static char *
control_name(void)
{
    return libspawn__str_format("unix:%s/supervisors/" G ".sock",
                                getenv("XL_STATE_DIR"));
}

static int
call(const char *method, const char *params, struct libspawn__json **result_r,
     struct libspawn_err *err)
{
    AUTO_FREE char *name = control_name();
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = NULL;

    assert_ok(libspawn__rpc_session_open(name, XL_WAIT_MS, &session, err),
              err);
    return libspawn__rpc_session_call(session, method, params, XL_WAIT_MS,
                                      result_r, err);
}

static bool
is_gone(void *user)
{
    (void)user;
    return !supervised_is(G);
}

static void
await_gone(void)
{
    AUTO_OUTPUT struct harness_output list = { 0 };

    ck_assert(harness_wait_until(is_gone, NULL, XL_WAIT_MS));
    list = xl_run("list", G);
    ck_assert_int_ne(list.status, 0);
}

/* ---- stop -------------------------------------------------------------- */

TEST_TIMEOUT(stop_destroy__is_answered_when_nothing_is_left, XL_TEST_S)
{
    struct libspawn_err err;
    size_t n_starts;

    begin("on_dm_crash = 'restart'\non_poweroff = 'restart'", "");
    n_starts = supervised_count_lines(G, "starts", "start");
    assert_ok(call("stop", "{\"how\":\"destroy\"}", NULL, &err), &err);
    ck_assert_uint_eq(supervised_count_events(G, "destroyed"), 1);
    await_gone();
    ck_assert_uint_eq(supervised_count_lines(G, "starts", "start"), n_starts);
    xl_assert_nothing_left();
}

TEST_TIMEOUT(stop_destroy_of_the_real_qemu__the_same, XL_TEST_S)
{
    struct libspawn_err err;

    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    supervised_begin();
    xl_write_config("on_poweroff = 'restart'");
    xl_ok("create", XL_CONFIG);
    assert_ok(call("stop", "{\"how\":\"destroy\"}", NULL, &err), &err);
    await_gone();
    xl_assert_nothing_left();
}

/* What it waits for is its own, and nobody else's. */
TEST_TIMEOUT(stop_destroy_of_a_model_that_takes_its_time__others_are_answered,
             XL_TEST_S)
{
    AUTO_FREE char *name = NULL;
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = NULL;
    struct libspawn_err err;
    int64_t since;

    begin("", "--slow-term=1500");
    name = control_name();
    assert_ok(libspawn__rpc_session_open(name, XL_WAIT_MS, &session, &err),
              &err);
    since = libspawn__clock_now_ms();
    assert_code(libspawn__rpc_session_call(
                    session, "stop", "{\"how\":\"destroy\"}", 1, NULL, &err),
                LIBSPAWN_ERR_TIMEOUT);
    ck_assert(supervised_is_state(G, "stopping"));
    ck_assert_int_lt(libspawn__clock_now_ms() - since, 1000);
    await_gone();
}

TEST_TIMEOUT(stop_shutdown__presses_the_power_button, XL_TEST_S)
{
    struct libspawn_err err;

    begin("", "");
    assert_ok(call("stop", "{\"how\":\"shutdown\"}", NULL, &err), &err);
    await_gone();
    ck_assert_uint_eq(supervised_count_lines(G, "qmp", "system_powerdown"), 1);
    ck_assert_uint_eq(supervised_count_events(G, "shutdown"), 1);
}

TEST_TIMEOUT(stop_without_a_word_that_is_known__is_refused, XL_TEST_S)
{
    static const char *const params[] = { NULL, "{}", "{\"how\":\"now\"}",
                                          "{\"how\":1}" };
    struct libspawn_err err;
    size_t i;

    begin("", "");
    for (i = 0; i < ARRAY_SIZE(params); i++) {
        assert_code(call("stop", params[i], NULL, &err), LIBSPAWN_ERR_INVALID);
    }
    ck_assert(supervised_is_state(G, "admitted"));
    end();
}

/* ---- events ------------------------------------------------------------ */

/* A client that is told of events. */
struct listener {
    struct libspawn__loop *loop;
    struct libspawn__rpc_client *client;
    struct libspawn__buf heard; /* the kinds, each with a blank behind it */
    bool is_listening;
    bool has_ended;
};

static void
on_notification(void *user, const char *method,
                const struct libspawn__json *params)
{
    struct listener *listener = user;

    ck_assert_str_eq(method, "event");
    ck_assert_str_eq(
        libspawn__json_string(libspawn__json_member(params, "guest")), G);
    libspawn__buf_printf(
        &listener->heard, "%s ",
        libspawn__json_string(libspawn__json_member(params, "event")));
}

static void
on_listening(void *user, const struct libspawn__json *result,
             const struct libspawn_err *err)
{
    struct listener *listener = user;

    (void)err;
    listener->is_listening = result != NULL;
}

static void
on_ended(void *user, const struct libspawn_err *err)
{
    struct listener *listener = user;

    (void)err;
    listener->has_ended = true;
}

static void
turn_until(struct listener *listener, const bool *flag)
{
    int64_t deadline = libspawn__clock_now_ms() + XL_WAIT_MS;

    while (!*flag) {
        ck_assert_int_lt(libspawn__clock_now_ms(), deadline);
        libspawn__loop_wait(listener->loop, 100, NULL);
    }
}

static void
listen_to(struct listener *listener, const char *name)
{
    const struct libspawn__rpc_client_callbacks callbacks = {
        .notification = on_notification, .ended = on_ended, .user = listener
    };
    struct libspawn_err err;
    int fd;

    memset(listener, 0, sizeof *listener);
    assert_ok(libspawn__loop_new(&listener->loop, &err), &err);
    assert_ok(libspawn__stream_open(name, XL_WAIT_MS, &fd, &err), &err);
    assert_ok(libspawn__rpc_client_new(listener->loop, fd, XL_WAIT_MS,
                                       &callbacks, &listener->client, &err),
              &err);
    assert_ok(libspawn__rpc_call(listener->client, "events", NULL, XL_WAIT_MS,
                                 on_listening, listener, &err),
              &err);
    turn_until(listener, &listener->is_listening);
}

static void
dispose(struct listener *listener)
{
    libspawn__rpc_client_free(listener->client);
    libspawn__loop_free(listener->loop);
    libspawn__buf_dispose(&listener->heard);
}

/* Whoever tells of something, and to the very last. */
TEST_TIMEOUT(events__come_from_now_on_until_the_guest_is_gone, XL_TEST_S)
{
    AUTO_FREE char *name = NULL;
    struct listener listener;
    struct listener second;

    begin("on_dm_crash = 'restart'", "");
    name = control_name();
    listen_to(&listener, name);
    xl_ok("pause", G);
    xl_ok("unpause", G);
    listen_to(&second, name);
    assert_ok(call("stop", "{\"how\":\"destroy\"}", NULL, NULL), NULL);
    turn_until(&listener, &listener.has_ended);
    turn_until(&second, &second.has_ended);
    libspawn__buf_append(&listener.heard, "", 1);
    ck_assert_str_eq(listener.heard.data, "paused resumed destroyed ");
    libspawn__buf_append(&second.heard, "", 1);
    ck_assert_str_eq(second.heard.data, "destroyed ");
    dispose(&listener);
    dispose(&second);
}

TEST_TIMEOUT(events_of_another_guest__are_not_told, XL_TEST_S)
{
    AUTO_FREE char *name = NULL;
    struct listener listener;

    begin("", "");
    supervised_write_config("other", "");
    name = control_name();
    listen_to(&listener, name);
    xl_ok("create", "other.cfg");
    xl_ok("destroy", "other");
    xl_ok("pause", G);
    end();
    turn_until(&listener, &listener.has_ended);
    libspawn__buf_append(&listener.heard, "", 1);
    ck_assert_str_eq(listener.heard.data, "paused ");
    dispose(&listener);
}

/* A client of which nobody knows how it reads. */
static int
open_raw(const char *request)
{
    AUTO_FREE char *name = control_name();
    struct libspawn_err err;
    int fd;

    assert_ok(libspawn__stream_open(name, XL_WAIT_MS, &fd, &err), &err);
    ck_assert_int_eq(
        libspawn__stream_send(fd, request, strlen(request), NULL, 0),
        (ssize_t)strlen(request));
    return fd;
}

/* Up to the newline. */
static char *
read_line(int fd)
{
    AUTO_BUF struct libspawn__buf line = { 0 };
    char byte;

    do {
        ck_assert(harness_wait_readable(fd, XL_WAIT_MS));
        ck_assert_int_eq(read(fd, &byte, 1), 1);
        libspawn__buf_append(&line, &byte, 1);
    } while (byte != '\n');
    line.data[line.size - 1] = '\0';
    return TAKE_PTR(line.data);
}

/* Appends that many events about the guest, as anybody on this host may. */
static void
tell_much(int n)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/events", getenv("XL_STATE_DIR"));
    AUTO_BUF struct libspawn__buf lines = { 0 };
    AUTO_FD int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    int i;

    for (i = 0; i < n; i++) {
        libspawn__buf_printf(&lines,
                             "{\"time\":\"2026-11-21T12:00:00.000Z\","
                             "\"guest\":\"" G "\",\"event\":\"noise\","
                             "\"text\":\"%0500d\"}\n",
                             i);
    }
    ck_assert_int_eq(write(fd, lines.data, lines.size), (ssize_t)lines.size);
}

/* Covers S14. */
TEST_TIMEOUT(events_that_nobody_reads__end_with_an_error_and_hold_up_nobody,
             XL_TEST_S)
{
    AUTO_FREE char *line = NULL;
    AUTO_FD int fd = -1;
    int n = -1;

    begin("", "");
    fd = open_raw("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"events\"}\n");
    free(read_line(fd));
    tell_much(1500);
    xl_ok("pause", G);
    ck_assert(supervised_is_state(G, "admitted"));
    do {
        free(line);
        line = read_line(fd);
        n++;
    } while (strstr(line, "\"method\":\"event\""));
    ck_assert_int_gt(n, 100);
    ck_assert_int_lt(n, 1500);
    assert_contains(line, "\"id\":null");
    assert_contains(line, "\"code\":\"limit\"");
    end();
}

/* ---- monitor ----------------------------------------------------------- */

TEST_TIMEOUT(monitor_for_many_at_once__answers_each_its_own, XL_TEST_S)
{
    enum {
        N = 10
    };
    int fds[N];
    int i;

    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    supervised_begin();
    xl_write_config("");
    xl_ok("create", XL_CONFIG);
    for (i = 0; i < N; i++) {
        AUTO_FREE char *request = libspawn__str_format(
            "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"monitor\","
            "\"params\":{\"execute\":\"human-monitor-command\","
            "\"arguments\":{\"command-line\":\"print %d\"}}}\n",
            i, 1000 + i);

        fds[i] = open_raw(request);
    }
    for (i = N - 1; i >= 0; i--) {
        AUTO_FREE char *answer = read_line(fds[i]);
        AUTO_FREE char *expected = libspawn__str_format(
            "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":\"0x%x\\r\\n\"}", i,
            1000 + (unsigned int)i);

        ck_assert_str_eq(answer, expected);
        close(fds[i]);
    }
    end();
}

/* Covers S15. */
TEST_TIMEOUT(monitor_answer_over_the_limit__is_an_error_and_all_goes_on,
             XL_TEST_S)
{
    struct libspawn_err err;
    pid_t model;

    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    supervised_begin();
    xl_write_config("");
    xl_ok("create", XL_CONFIG);
    model = supervised_model_pid(G);
    assert_code(call("monitor",
                     "{\"execute\":\"human-monitor-command\",\"arguments\":"
                     "{\"command-line\":\"xp /300000xb 0\"}}",
                     NULL, &err),
                LIBSPAWN_ERR_PROTOCOL);
    supervised_await_event(G, "released", 1);
    ck_assert_int_eq(supervised_model_pid(G), model);
    assert_ok(supervised_command(G, "query-version"), NULL);
    end();
}

/* ---- Other doors ------------------------------------------------------- */

/* Where it listens besides, as it says. */
static char *
open_door_of(const char *guest)
{
    AUTO_JSON struct libspawn__json *status = supervised_status(guest);
    const char *name = libspawn__json_string(
        libspawn__json_item(libspawn__json_member(status, "listens"), 0));

    ck_assert_ptr_nonnull(name);
    return strdup(name);
}

static int
call_at(const char *name, const char *method)
{
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = NULL;
    struct libspawn_err err;

    assert_ok(libspawn__rpc_session_open(name, XL_WAIT_MS, &session, &err),
              &err);
    return libspawn__rpc_session_call(session, method, NULL, XL_WAIT_MS, NULL,
                                      &err);
}

static void
begin_open(const char *control)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    supervised_begin();
    supervised_write_config(G, "");
    output = xl_run("create", control, G ".cfg");
    xl_assert_ok(&output);
    supervised_await_state(G, "admitted");
}

/* Nobody knows who is there. */
TEST_TIMEOUT(port__answers_only_what_changes_nothing, XL_TEST_S)
{
    static const char *const others[] = { "leave",  "settle", "monitor",
                                          "reexec", "stop",   "console" };
    AUTO_FREE char *name = NULL;
    struct listener listener;
    size_t i;

    begin_open("--control=ptcp:0");
    name = open_door_of(G);
    ck_assert(libspawn__str_has_prefix(name, "tcp:127.0.0.1:"));
    assert_ok(call_at(name, "status"), NULL);
    for (i = 0; i < ARRAY_SIZE(others); i++) {
        assert_code(call_at(name, others[i]), LIBSPAWN_ERR_UNSUPPORTED);
    }
    listen_to(&listener, name);
    assert_ok(call("stop", "{\"how\":\"destroy\"}", NULL, NULL), NULL);
    turn_until(&listener, &listener.has_ended);
    libspawn__buf_append(&listener.heard, "", 1);
    ck_assert_str_eq(listener.heard.data, "destroyed ");
    dispose(&listener);
    await_gone();
    xl_assert_nothing_left();
}

TEST_TIMEOUT(port_of_a_supervisor_that_died__is_that_of_the_next, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };
    AUTO_FREE char *before = NULL;
    AUTO_FREE char *after = NULL;

    begin_open("--control=ptcp:0");
    before = open_door_of(G);
    supervised_kill(G, SIGKILL);
    list = xl_run("list");
    supervised_await_event(G, "supervisor-started", 1);
    supervised_await_state(G, "admitted");
    after = open_door_of(G);
    ck_assert_str_eq(after, before);
    assert_ok(call_at(after, "status"), NULL);
    end();
}

TEST_TIMEOUT(port_that_another_has_meanwhile__is_told_and_done_without,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output list = { 0 };
    AUTO_FREE char *before = NULL;
    AUTO_FREE char *name = NULL;
    AUTO_FREE char *events = NULL;
    AUTO_FREE char *path = NULL;
    AUTO_FD int fd = -1;

    begin_open("--control=ptcp:0");
    before = open_door_of(G);
    supervised_kill(G, SIGKILL);
    name = libspawn__str_format("ptcp:%s", strrchr(before, ':') + 1);
    assert_ok(libspawn__stream_listen_anywhere(name, 0, &fd, NULL), NULL);
    list = xl_run("list");
    supervised_await_event(G, "supervisor-started", 1);
    supervised_await_state(G, "admitted");
    path = libspawn__str_format("%s/events", getenv("XL_STATE_DIR"));
    events = harness_read_file(path);
    assert_contains(events, "Address already in use");
    end();
}

TEST_TIMEOUT(port_of_a_supervisor_that_is_upgraded__stays, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    AUTO_FREE char *before = NULL;
    AUTO_FREE char *after = NULL;

    begin_open("--control=ptcp:0:[::1]");
    before = open_door_of(G);
    output = xl_run("supervise", "--reexec", G);
    xl_assert_ok(&output);
    ck_assert_int_eq(supervised_number(G, "programs"), 1);
    after = open_door_of(G);
    ck_assert_str_eq(after, before);
    assert_ok(call_at(after, "status"), NULL);
    end();
}

TEST_TIMEOUT(port_of_a_supervisor_with_a_monitor__is_that_of_the_next,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    AUTO_FREE char *before = NULL;
    AUTO_FREE char *after = NULL;

    supervised_begin();
    supervised_write_config(G, "");
    output = xl_run("create", "--monitor", "--control=ptcp:0", G ".cfg");
    xl_assert_ok(&output);
    before = open_door_of(G);
    ck_assert_int_eq(kill(supervised_pid(G), SIGKILL), 0);
    supervised_await_event(G, "supervisor-started", 1);
    supervised_await_state(G, "admitted");
    after = open_door_of(G);
    ck_assert_str_eq(after, before);
    end();
}

TEST_TIMEOUT(port_for_everybody__is_warned_of, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    supervised_begin();
    supervised_write_config(G, "");
    output = xl_run("create", "--control=ptcp:0:0.0.0.0", G ".cfg");
    ck_assert_int_eq(output.status, 0);
    assert_contains(output.err, "listens at 'ptcp:0:0.0.0.0'");
    end();
}

/* Covers S11. */
TEST_TIMEOUT(control_of_create__is_a_port_or_wrong_usage, XL_TEST_S)
{
    static const char *const wrong[] = { "--control=pfd:3", "--control=ptcp:",
                                         "--control=punix:x", "--control=" };
    size_t i;

    supervised_begin();
    supervised_write_config(G, "");
    for (i = 0; i < ARRAY_SIZE(wrong); i++) {
        AUTO_OUTPUT struct harness_output output =
            xl_run("create", wrong[i], G ".cfg");

        ck_assert_int_eq(output.status, 2);
        assert_contains(output.err, "--control: ");
    }
    {
        AUTO_OUTPUT struct harness_output output =
            xl_run("create", "-e", "--control=ptcp:0", G ".cfg");

        ck_assert_int_eq(output.status, 2);
    }
}

/* ---- Sockets of an init system ----------------------------------------- */

/* As an init system makes one: bound to its path, and inherited. */
static int
make_socket(const char *path)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    ck_assert_int_lt(snprintf(un.sun_path, sizeof un.sun_path, "%s", path),
                     (int)sizeof un.sun_path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    ck_assert_int_eq(listen(fd, 5), 0);
    return fd;
}

static struct xl_process
adopt_with(const char *control)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/bin/guest-supervisor", harness_build_dir());

    return xl_start_argv(
        (const char *const[]){ path, "--adopt", control, G, NULL });
}

static void
begin_alone(void)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    supervised_begin();
    supervised_write_config(G, "");
    output = xl_run("create", "-e", G ".cfg");
    xl_assert_ok(&output);
    ck_assert(!mkdir("state/supervisors", 0700) || errno == EEXIST);
}

/* Covers S10. */
TEST_TIMEOUT(control_socket_of_an_init_system__is_served_and_left, XL_TEST_S)
{
    static const char path[] = "state/supervisors/" G ".sock";
    int i;

    begin_alone();
    {
        AUTO_FREE char *full =
            libspawn__str_format("%s/%s", harness_dir(), path);
        AUTO_FD int fd = make_socket(full);
        AUTO_FREE char *control = libspawn__str_format("--control=pfd:%d", fd);

        for (i = 0; i < 2; i++) {
            struct xl_process supervisor = adopt_with(control);

            supervised_await_state(G, "admitted");
            ck_assert_int_eq(kill(supervisor.pid, SIGTERM), 0);
            ck_assert_int_eq(xl_wait(&supervisor), 0);
            ck_assert_int_eq(access(path, F_OK), 0);
        }
        end();
        ck_assert_int_eq(access(path, F_OK), 0);
    }
    ck_assert_int_eq(unlink(path), 0);
    xl_assert_nothing_left();
}

/* Covers S10. */
TEST_TIMEOUT(other_socket_of_an_init_system__is_one_more, XL_TEST_S)
{
    struct xl_process supervisor;
    AUTO_FREE char *control = NULL;
    AUTO_FD int fd = -1;

    begin_alone();
    fd = make_socket("other");
    control = libspawn__str_format("--control=pfd:%d", fd);
    supervisor = adopt_with(control);
    supervised_await_state(G, "admitted");
    assert_code(call_at("unix:other", "stop"), LIBSPAWN_ERR_INVALID);
    assert_ok(call_at("unix:other", "leave"), NULL);
    ck_assert_int_eq(xl_wait(&supervisor), 0);
    ck_assert_int_eq(unlink("other"), 0);
    end();
}

/* Covers S9. */
TEST_TIMEOUT(socket_that_is_none__is_said_to_be_so, XL_TEST_S)
{
    static const struct {
        const char *control;
        const char *words;
    } cases[] = {
        { "--control=pfd:99", "descriptor 99 is not open" },
        { "--control=pfd:0", "descriptor 0 is not a socket" },
        { "--control=fd:3", "'fd:3' is not ptcp:PORT[:ADDRESS] or pfd:NUM" },
    };
    size_t i;

    begin_alone();
    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        struct xl_process supervisor = adopt_with(cases[i].control);

        ck_assert(xl_await_words(&supervisor, cases[i].words));
        ck_assert_int_eq(xl_wait(&supervisor), 1);
    }
    end();
}

TEST_MAIN("xl_control")
