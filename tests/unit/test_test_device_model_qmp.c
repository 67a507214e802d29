/*
 * The test device model: how it speaks QMP, and how it does not.
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/pidref.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/lib/harness.h"
#include "wire/stream.h"

enum {
    STEP_MS = 5000,   /* for what comes at once */
    SILENCE_MS = 100, /* how long to listen for what must not come */
    QMP_FD = 5        /* in the device model */
};

#define GREETING "{\"QMP\":{\"version\":"
#define CAPABILITIES "qmp_capabilities"

struct client {
    pid_t pid;
    int fd;
    struct libspawn__buf heard; /* and not yet looked at */
};

/* ---- One device model and its client ------------------------------------ */

/* 'qmp' becomes the socket of its monitor; 'words' ends with NULL. */
static pid_t
spawn_model(int qmp, const char *chardev, const char *const words[])
{
    AUTO_FREE char *program =
        libspawn__str_format("%s/bin/test-device-model", harness_build_dir());
    AUTO_STRV struct libspawn__strv argv = { 0 };
    posix_spawn_file_actions_t actions;
    pid_t pid;

    libspawn__strv_add(&argv, program, NULL);
    libspawn__strv_add(&argv, "-chardev", NULL);
    libspawn__strv_add(&argv, chardev, NULL);
    libspawn__strv_add(&argv, "-mon", NULL);
    libspawn__strv_add(&argv, "chardev=qmp,mode=control", NULL);
    for (; *words; words++) {
        libspawn__strv_add(&argv, *words, NULL);
    }
    posix_spawn_file_actions_init(&actions);
    if (qmp >= 0) {
        posix_spawn_file_actions_adddup2(&actions, qmp, QMP_FD);
    }
    ck_assert_int_eq(
        posix_spawn(&pid, program, &actions, NULL, argv.items, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void
start_words(struct client *client, const char *const words[])
{
    int fds[2];
    int theirs;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                     0);
    theirs = fcntl(fds[1], F_DUPFD_CLOEXEC, QMP_FD + 1);
    ck_assert_int_ge(theirs, 0);
    *client = (struct client){ .fd = fds[0] };
    client->pid = spawn_model(theirs, "socket,id=qmp,fd=5", words);
    close(fds[1]);
    close(theirs);
}
#define start(CLIENT, ...)                                                    \
    start_words((CLIENT), (const char *const[]){ __VA_ARGS__, NULL })

static void
end(struct client *client)
{
    if (client->pid > 0) {
        kill(client->pid, SIGKILL);
        waitpid(client->pid, NULL, 0);
    }
    close(client->fd);
    libspawn__buf_dispose(&client->heard);
}
#define AUTO_CLIENT AUTO(end)

/* Reads until 'text' has come, and forgets all up to its end. */
static void
expect(struct client *client, const char *text)
{
    char *found;

    while (!client->heard.data || !strstr(client->heard.data, text)) {
        char bytes[4096];
        ssize_t n = 0;

        if (harness_wait_readable(client->fd, STEP_MS)) {
            n = read(client->fd, bytes, sizeof bytes);
        }
        if (n <= 0) {
            assert_contains(client->heard.data ? client->heard.data : "",
                            text);
            return;
        }
        libspawn__buf_append(&client->heard, bytes, (size_t)n);
    }
    found = strstr(client->heard.data, text);
    libspawn__buf_consume(&client->heard,
                          (size_t)(found - client->heard.data) + strlen(text));
}

static void
expect_silence(const struct client *client)
{
    ck_assert(!harness_wait_readable(client->fd, SILENCE_MS));
}

static void
say(struct client *client, const char *text)
{
    ck_assert_int_eq(libspawn__fd_write_full(client->fd, text, strlen(text)),
                     0);
}

static void
command(struct client *client, const char *name)
{
    AUTO_FREE char *line =
        libspawn__str_format("{\"execute\":\"%s\"}\r\n", name);

    say(client, line);
}

static void
negotiate(struct client *client)
{
    expect(client, GREETING);
    command(client, CAPABILITIES);
    expect(client, "{\"return\":{}}\r\n");
}

static void
expect_exit(struct client *client, int code)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    int status;

    assert_ok(libspawn__pidref_from_pid(client->pid, &ref, NULL), NULL);
    assert_ok(libspawn__pidref_wait(&ref, STEP_MS, NULL), NULL);
    ck_assert_int_eq(waitpid(client->pid, &status, 0), client->pid);
    client->pid = -1;
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), code);
}

/* ---- As QEMU does ------------------------------------------------------- */

TEST(client_connects__is_greeted_with_a_version)
{
    AUTO_CLIENT struct client client;

    start(&client, "-S");
    expect(&client, "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7,");
    expect(&client, "}}\r\n");
}

TEST(command_before_negotiation__is_refused)
{
    AUTO_CLIENT struct client client;

    start(&client, "-S");
    expect(&client, GREETING);
    command(&client, "query-status");
    expect(&client, "{\"error\":{\"class\":\"CommandNotFound\"");
}

TEST(answer__carries_the_id_of_the_command)
{
    AUTO_CLIENT struct client client;

    start(&client, "-S");
    negotiate(&client);
    say(&client, "{\"id\":{\"n\":7},\"execute\":\"query-status\"}\n");
    expect(&client, "{\"id\":{\"n\":7},\"return\":{\"status\":");
}

TEST(command_is_unknown__is_refused_as_not_found)
{
    AUTO_CLIENT struct client client;

    start(&client, "-S");
    negotiate(&client);
    command(&client, "fly");
    expect(&client, "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":"
                    "\"The command fly has not been found\"}}\r\n");
}

TEST(command_is_no_json__is_refused_and_the_connection_goes_on)
{
    AUTO_CLIENT struct client client;

    start(&client, "-S");
    negotiate(&client);
    say(&client, "fly away\n");
    expect(&client, "{\"error\":{\"class\":\"GenericError\"");
    command(&client, "query-status");
    expect(&client, "{\"return\":");
}

TEST(machine__runs_unless_told_to_wait_for_cont)
{
    AUTO_CLIENT struct client runs;
    AUTO_CLIENT struct client waits;

    start(&runs, "-m", "32");
    negotiate(&runs);
    command(&runs, "query-status");
    expect(&runs, "\"status\":\"running\"");
    expect(&runs, "\"running\":true");
    start(&waits, "-S");
    negotiate(&waits);
    command(&waits, "query-status");
    expect(&waits, "\"status\":\"prelaunch\"");
    expect(&waits, "\"running\":false");
}

TEST(cont_and_stop__change_the_status_and_send_events)
{
    AUTO_CLIENT struct client client;

    start(&client, "-S");
    negotiate(&client);
    command(&client, "cont");
    expect(&client, "\"event\":\"RESUME\"");
    expect(&client, "{\"return\":{}}");
    command(&client, "stop");
    expect(&client, "\"event\":\"STOP\"");
    expect(&client, "{\"return\":{}}");
    command(&client, "query-status");
    expect(&client, "\"status\":\"paused\"");
}

TEST(quit__answers_and_exits_with_0)
{
    AUTO_CLIENT struct client client;

    start(&client, "-S");
    negotiate(&client);
    command(&client, "quit");
    expect(&client, "{\"return\":{}}\r\n");
    expect(&client, "\"reason\":\"host-qmp-quit\"");
    expect_exit(&client, 0);
}

TEST(term__is_announced)
{
    AUTO_CLIENT struct client client;

    start(&client, "-S");
    negotiate(&client);
    kill(client.pid, SIGTERM);
    expect(&client, "\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,"
                    "\"reason\":\"host-signal\"}");
    expect_exit(&client, 0);
}

TEST(power_button__shuts_down_and_exits)
{
    AUTO_CLIENT struct client client;

    start(&client, "-m", "32");
    negotiate(&client);
    command(&client, "system_powerdown");
    expect(&client, "\"event\":\"POWERDOWN\"");
    expect(&client, "\"reason\":\"guest-shutdown\"");
    expect_exit(&client, 0);
}

TEST(power_button_with_no_shutdown__stays_as_shutdown)
{
    AUTO_CLIENT struct client client;

    start(&client, "-no-shutdown");
    negotiate(&client);
    command(&client, "system_powerdown");
    expect(&client, "\"event\":\"SHUTDOWN\"");
    command(&client, "query-status");
    expect(&client, "\"status\":\"shutdown\"");
}

TEST(power_button_is_ignored__runs_on)
{
    AUTO_CLIENT struct client client;

    start(&client, "--ignore-powerdown");
    negotiate(&client);
    command(&client, "system_powerdown");
    expect(&client, "\"event\":\"POWERDOWN\"");
    command(&client, "query-status");
    expect(&client, "\"status\":\"running\"");
}

TEST(screendump__writes_a_picture)
{
    AUTO_CLIENT struct client client;
    AUTO_FREE char *picture = NULL;

    start(&client, "-S");
    negotiate(&client);
    say(&client, "{\"execute\":\"screendump\",\"arguments\":"
                 "{\"filename\":\"picture\"}}\n");
    expect(&client, "{\"return\":{}}");
    picture = harness_read_file("picture");
    ck_assert(libspawn__str_has_prefix(picture, "P6\n1 1\n255\n"));
}

TEST(query_vnc__tells_what_the_command_line_says)
{
    AUTO_CLIENT struct client client;

    start(&client, "-vnc", "127.0.0.1:3,to=99");
    negotiate(&client);
    command(&client, "query-vnc");
    expect(&client, "\"enabled\":true");
    expect(&client, "\"service\":\"5903\",\"host\":\"127.0.0.1\"");
}

TEST(query_chardev__tells_the_labels)
{
    AUTO_CLIENT struct client client;

    start(&client, "-chardev", "pty,id=serial0");
    negotiate(&client);
    command(&client, "query-chardev");
    expect(&client, "\"label\":\"qmp\"");
    expect(&client, "\"label\":\"serial0\"");
}

/* ---- Connections -------------------------------------------------------- */

static void
connect_to(struct client *client, const char *name)
{
    struct libspawn_err err;

    *client = (struct client){ .pid = -1 };
    assert_ok(libspawn__stream_connect(name, &client->fd, &err), &err);
}

TEST(listener_on_a_descriptor__serves_one_client_after_the_other)
{
    AUTO_CLIENT struct client first;
    AUTO_CLIENT struct client second;
    AUTO_FD int listener = -1;
    struct libspawn_err err;

    assert_ok(libspawn__stream_listen("punix:socket", 0600, &listener, &err),
              &err);
    connect_to(&first, "unix:socket");
    connect_to(&second, "unix:socket");
    first.pid = spawn_model(listener, "socket,id=qmp,fd=5,server=on,wait=off",
                            (const char *const[]){ NULL });
    negotiate(&first);
    expect_silence(&second);
    shutdown(first.fd, SHUT_RDWR);
    negotiate(&second);
}

static bool
is_there(void *path)
{
    return !access(path, F_OK);
}

TEST(listener_at_a_path__is_made_and_served)
{
    AUTO_CLIENT struct client client;
    char path[] = "its-socket";
    pid_t pid = spawn_model(-1,
                            "socket,id=qmp,path=its-socket,server=on,wait=off",
                            (const char *const[]){ NULL });

    ck_assert(harness_wait_until(is_there, path, STEP_MS));
    connect_to(&client, "unix:its-socket");
    client.pid = pid;
    negotiate(&client);
}

TEST(monitor_without_its_chardev__is_an_error)
{
    AUTO_FREE char *program =
        libspawn__str_format("%s/bin/test-device-model", harness_build_dir());
    AUTO_OUTPUT struct harness_output output =
        harness_run(program, "-mon", "chardev=qmp,mode=control");

    ck_assert_int_eq(output.status, 1);
    assert_contains(output.err, "there is no such chardev");
}

/* ---- As QEMU does not --------------------------------------------------- */

TEST(never_ready__leaves_the_client_waiting)
{
    AUTO_CLIENT struct client client;

    start(&client, "--never-ready");
    expect_silence(&client);
}

TEST(ready_after__greets_then)
{
    AUTO_CLIENT struct client client;
    int64_t started_at = libspawn__clock_now_ms();

    start(&client, "--ready-after=80");
    expect(&client, GREETING);
    ck_assert_int_ge(libspawn__clock_now_ms() - started_at, 80);
}

TEST(mute__says_nothing_and_keeps_the_connection)
{
    AUTO_CLIENT struct client client;

    start(&client, "--mute");
    command(&client, CAPABILITIES);
    expect_silence(&client);
}

TEST(greet_only__greets_and_answers_nothing)
{
    AUTO_CLIENT struct client client;

    start(&client, "--greet-only");
    expect(&client, GREETING);
    expect(&client, "}}\r\n");
    command(&client, CAPABILITIES);
    expect_silence(&client);
}

TEST(no_answer__is_silent_for_that_command_alone)
{
    AUTO_CLIENT struct client client;

    start(&client, "--no-answer=stop", "--no-answer=cont");
    negotiate(&client);
    command(&client, "stop");
    command(&client, "cont");
    expect_silence(&client);
    command(&client, "query-status");
    expect(&client, "\"status\":\"running\"");
}

TEST(no_answer_to_negotiation__greets_and_is_silent)
{
    AUTO_CLIENT struct client client;

    start(&client, "--no-answer=" CAPABILITIES);
    expect(&client, GREETING);
    expect(&client, "}}\r\n");
    command(&client, CAPABILITIES);
    expect_silence(&client);
}

TEST(garbage__is_no_json)
{
    AUTO_CLIENT struct client client;

    start(&client, "--garbage");
    expect(&client, "}\x01\xff");
    expect(&client, "\n");
}

TEST(flood__goes_on_without_a_newline)
{
    enum { ENOUGH = 4 << 20 };
    AUTO_CLIENT struct client client;
    size_t n_read = 0;

    start(&client, "--flood");
    while (n_read < ENOUGH) {
        char bytes[65536];
        ssize_t n;

        ck_assert(harness_wait_readable(client.fd, STEP_MS));
        n = read(client.fd, bytes, sizeof bytes);
        ck_assert_int_gt(n, 0);
        ck_assert_ptr_null(memchr(bytes, '\n', (size_t)n));
        n_read += (size_t)n;
    }
}

TEST(answer_after__is_not_earlier)
{
    AUTO_CLIENT struct client client;
    int64_t asked_at;

    start(&client, "--answer-after=80");
    expect(&client, GREETING);
    asked_at = libspawn__clock_now_ms();
    command(&client, CAPABILITIES);
    expect(&client, "{\"return\":{}}");
    ck_assert_int_ge(libspawn__clock_now_ms() - asked_at, 80);
}

TEST(status__is_what_was_ordered)
{
    AUTO_CLIENT struct client client;

    start(&client, "--status=internal-error");
    negotiate(&client);
    command(&client, "cont");
    command(&client, "query-status");
    expect(&client, "\"status\":\"internal-error\"");
    expect(&client, "\"running\":false");
}

TEST(log_qmp__counts_every_command)
{
    AUTO_CLIENT struct client client;
    AUTO_FREE char *log = NULL;

    start(&client, "--log-qmp=log");
    negotiate(&client);
    command(&client, "stop");
    command(&client, "bogus");
    expect(&client, "CommandNotFound");
    log = harness_read_file("log");
    ck_assert_str_eq(log, CAPABILITIES "\nstop\nbogus\n");
}

TEST_MAIN("test_device_model_qmp")
