/*
 * Serial ports of a guest at addresses of the configuration's choice, with the
 * real QEMU and the tiny guest, which says back every line.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/cli/supervised_story.h"
#include "wire/rpc_client.h"
#include "wire/stream.h"

#define SERIAL_CONFIG "serial.cfg"

/* A configuration that boots the tiny guest from a disk of its own. */
static void
write_config(const char *lines)
{
    AUTO_FREE char *image =
        libspawn__str_format("%s/build/guest/hello.img", harness_source_dir());
    AUTO_OUTPUT struct harness_output copy =
        harness_run("cp", image, "hello.img");
    AUTO_FREE char *text = libspawn__str_format(
        "name = \"" XL_GUEST "\"\nmemory = 32\nvnc = 0\naccel = 'tcg'\n"
        "disk = [ 'hello.img,raw,hda,rw' ]\n%s\n",
        lines);

    xl_assert_ok(&copy);
    harness_write_file(XL_CONFIG, text);
}

static void
create(const char *lines)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    supervised_begin();
    write_config(lines);
    output = xl_run("create", XL_CONFIG);
    xl_assert_ok(&output);
}

/* Where the port listens, as the supervisor knows. */
static char *
address_of(int number)
{
    AUTO_FREE char *name = libspawn__str_format(
        "unix:%s/supervisors/" XL_GUEST ".sock", getenv("XL_STATE_DIR"));
    AUTO_FREE char *params = libspawn__str_format("{\"number\":%d}", number);
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = NULL;
    AUTO_JSON struct libspawn__json *result = NULL;
    struct libspawn_err err;

    assert_ok(libspawn__rpc_session_open(name, XL_WAIT_MS, &session, &err),
              &err);
    assert_ok(libspawn__rpc_session_call(session, "console", params,
                                         XL_WAIT_MS, &result, &err),
              &err);
    return strdup(
        libspawn__json_string(libspawn__json_member(result, "address")));
}

/* ---- A line of a terminal ---------------------------------------------- */

static int
connect_to(const char *address)
{
    struct libspawn_err err;
    int fd = -1;

    assert_ok(libspawn__stream_open(address, XL_WAIT_MS, &fd, &err), &err);
    return fd;
}

static bool
hears(int fd, const char *words)
{
    int64_t deadline = libspawn__clock_now_ms() + XL_WAIT_MS;
    AUTO_BUF struct libspawn__buf text = { 0 };
    char bytes[256];
    ssize_t n = 1;

    libspawn__buf_append(&text, "", 1);
    while (n > 0 && !strstr(text.data, words)) {
        if (!harness_wait_readable(fd, libspawn__clock_left_ms(deadline))) {
            return false;
        }
        n = recv(fd, bytes, sizeof bytes, 0);
        text.size--;
        libspawn__buf_append(&text, bytes, (size_t)MAX(n, 0));
        libspawn__buf_append(&text, "", 1);
    }
    return n > 0;
}

static void
assert_talks(int fd, const char *word)
{
    AUTO_FREE char *line = libspawn__str_format("%s\r", word);
    AUTO_FREE char *answer = libspawn__str_format("you said: %s", word);

    ck_assert_int_eq(send(fd, line, strlen(line), MSG_NOSIGNAL),
                     (ssize_t)strlen(line));
    ck_assert_msg(hears(fd, answer), "nobody says '%s'", answer);
}

static void
assert_xl_console_talks(const char *word)
{
    struct xl_process console = xl_start_talk("console", XL_GUEST);
    AUTO_FREE char *line = libspawn__str_format("%s\r", word);
    AUTO_FREE char *answer = libspawn__str_format("you said: %s", word);

    /* What is typed before the guest has greeted is lost. */
    xl_say(&console, "x\r");
    ck_assert(xl_await_words(&console, "> "));
    xl_say(&console, line);
    ck_assert(xl_await_words(&console, answer));
    xl_say(&console, "\x1d");
    ck_assert_int_eq(xl_wait(&console), 0);
}

static void
await_greeting(void)
{
    AUTO_FREE char *address = address_of(0);
    AUTO_FD int fd = connect_to(address);

    ck_assert_int_eq(send(fd, "x\r", 2, MSG_NOSIGNAL), 2);
    ck_assert(hears(fd, "> "));
}

/* ---- Listening --------------------------------------------------------- */

TEST_TIMEOUT(port_at_a_path__is_the_console_and_is_removed, XL_TEST_S)
{
    AUTO_FREE char *expected =
        libspawn__str_format("unix:%s/line", harness_dir());
    AUTO_FREE char *address = NULL;

    create("serial = 'punix:line'");
    await_greeting();
    address = address_of(0);
    ck_assert_str_eq(address, expected);
    assert_xl_console_talks("path");
    xl_destroy_guest();
    ck_assert_int_ne(access("line", F_OK), 0);
}

TEST_TIMEOUT(port_on_tcp__is_the_console_on_loopback, XL_TEST_S)
{
    AUTO_FREE char *address = NULL;

    create("serial = 'ptcp:0'");
    await_greeting();
    address = address_of(0);
    ck_assert(libspawn__str_has_prefix(address, "tcp:127.0.0.1:"));
    assert_xl_console_talks("port");
    xl_destroy_guest();
}

TEST_TIMEOUT(port_for_everybody__is_warned_of, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    supervised_begin();
    write_config("serial = 'ptcp:0:0.0.0.0'");
    output = xl_run("create", XL_CONFIG);
    ck_assert_int_eq(output.status, 0);
    assert_contains(output.err, "serial port 0 listens at 'ptcp:0:0.0.0.0'");
    await_greeting();
    assert_xl_console_talks("all");
    xl_destroy_guest();
}

TEST_TIMEOUT(ports_of_all_kinds__are_numbered, XL_TEST_S)
{
    AUTO_FREE char *first = NULL;
    AUTO_FREE char *third = NULL;

    create("serial = [ 'pty', 'none', 'punix:third' ]");
    first = address_of(0);
    third = address_of(2);
    assert_contains(first, "/state/guests/1/serial0");
    assert_contains(third, "/third");
    xl_destroy_guest();
}

TEST_TIMEOUT(port_without_a_supervisor__is_removed_with_the_guest, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    supervised_begin();
    write_config("serial = 'punix:line'");
    output = xl_run("create", "-e", XL_CONFIG);
    xl_assert_ok(&output);
    assert_xl_console_talks("alone");
    xl_destroy_guest();
    ck_assert_int_ne(access("line", F_OK), 0);
}

/* It has another network than its port. */
TEST_TIMEOUT(port_of_a_restricted_model__is_served_all_the_same, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    supervised_begin();
    write_config("serial = [ 'ptcp:0', 'punix:line' ]\ndm_restrict = 1");
    output = xl_run("create", XL_CONFIG);
    ck_assert_int_eq(output.status, 0);
    assert_xl_console_talks("confined");
    xl_destroy_guest();
    ck_assert_int_ne(access("line", F_OK), 0);
}

/* Covers S16. */
TEST_TIMEOUT(port_where_somebody_listens__is_refused_and_left_alone, XL_TEST_S)
{
    AUTO_FD int fd = -1;
    AUTO_FD int client = -1;

    supervised_begin();
    assert_ok(libspawn__stream_listen("punix:line", 0600, &fd, NULL), NULL);
    write_config("serial = [ 'punix:first', 'punix:line' ]");
    xl_assert_create_fails(1, "serial port 1: listening on", XL_CONFIG);
    ck_assert_int_ne(access("first", F_OK), 0);
    client = connect_to("unix:line");
}

/* The first was made and has to go again. */
TEST_TIMEOUT(port_of_a_model_that_fails__leaves_no_path, XL_TEST_S)
{
    supervised_begin();
    write_config("serial = 'punix:line'\n"
                 "device_model_args = [ '-device', 'nosuchcard' ]");
    xl_assert_create_fails(1, "", XL_CONFIG);
    ck_assert_int_ne(access("line", F_OK), 0);
}

/* Covers S11. */
TEST_TIMEOUT(port_that_names_a_descriptor__is_refused, XL_TEST_S)
{
    static const char *const serials[] = { "serial='pfd:3'", "serial='fd:3'" };
    size_t i;

    supervised_begin();
    write_config("");
    for (i = 0; i < ARRAY_SIZE(serials); i++) {
        xl_assert_create_fails(1, "means something only on a command line",
                               XL_CONFIG, serials[i]);
    }
}

/* ---- Restarts ---------------------------------------------------------- */

static void
kill_model(void)
{
    ck_assert_int_eq(kill(supervised_model_pid(XL_GUEST), SIGKILL), 0);
}

/* Whoever connects meanwhile is served by the next one. */
static void
assert_survives(void)
{
    size_t n_before = supervised_count_events(XL_GUEST, "released");
    AUTO_FREE char *before = address_of(0);
    AUTO_FREE char *after = NULL;
    AUTO_FD int fd = -1;

    kill_model();
    fd = connect_to(before);
    supervised_await_event(XL_GUEST, "released", n_before + 1);
    after = address_of(0);
    ck_assert_str_eq(after, before);
    ck_assert(hears(fd, "> "));
    assert_talks(fd, "again");
}

TEST_TIMEOUT(model_killed__its_port_goes_on_listening, XL_TEST_S)
{
    static const char *const serials[] = { "serial = 'punix:line'",
                                           "serial = 'ptcp:0'",
                                           "serial = 'pty'" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(serials); i++) {
        AUTO_FREE char *lines =
            libspawn__str_format("on_dm_crash = 'restart'\n%s", serials[i]);

        create(lines);
        assert_survives();
        xl_destroy_guest();
        ck_assert_int_ne(access("line", F_OK), 0);
    }
}

TEST_TIMEOUT(supervisor_and_then_model_killed__the_port_goes_on_listening,
             XL_TEST_S)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/bin/guest-supervisor", harness_build_dir());
    struct xl_process supervisor;

    create("on_dm_crash = 'restart'\nserial = 'ptcp:0'");
    supervised_kill(XL_GUEST, SIGKILL);
    supervisor = xl_start_argv(
        (const char *const[]){ path, "--adopt", XL_GUEST, NULL });
    supervised_await_event(XL_GUEST, "supervisor-started", 1);
    supervised_await_state(XL_GUEST, "admitted");
    assert_survives();
    xl_destroy_guest();
    close(supervisor.out);
}

TEST_TIMEOUT(model_killed_and_kept__its_console_is_said_to_be_served_by_nobody,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output console = { 0 };

    create("on_dm_crash = 'preserve'\nserial = 'punix:line'");
    kill_model();
    supervised_await_state(XL_GUEST, "failed");
    console = xl_run("console", XL_GUEST);
    xl_assert_error(&console, 1, "its device model has ended");
    xl_destroy_guest();
    ck_assert_int_ne(access("line", F_OK), 0);
}

TEST_TIMEOUT(next_start_with_another_place__leaves_nothing_at_the_first,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output update = { 0 };
    AUTO_FREE char *address = NULL;

    create("on_dm_crash = 'restart'\nserial = 'punix:line'");
    update =
        xl_run("config-update", XL_GUEST, XL_CONFIG, "serial='punix:other'");
    xl_assert_ok(&update);
    kill_model();
    supervised_await_event(XL_GUEST, "released", 1);
    address = address_of(0);
    assert_contains(address, "/other");
    ck_assert_int_ne(access("line", F_OK), 0);
    assert_xl_console_talks("moved");
    xl_destroy_guest();
    ck_assert_int_ne(access("other", F_OK), 0);
}

/* ---- Connecting -------------------------------------------------------- */

static int
accept_from(int listener)
{
    struct libspawn_err err;
    int fd = -1;

    ck_assert(harness_wait_readable(listener, XL_WAIT_MS));
    assert_ok(libspawn__stream_accept(listener, &fd, &err), &err);
    return fd;
}

static void
assert_connects_again(int listener)
{
    AUTO_OUTPUT struct harness_output console = { 0 };
    int i;

    for (i = 0; i < 2; i++) {
        AUTO_FD int fd = accept_from(listener);

        ck_assert_int_eq(send(fd, "x\r", 2, MSG_NOSIGNAL), 2);
        ck_assert(hears(fd, "> "));
        assert_talks(fd, "called");
    }
    console = xl_run("console", XL_GUEST);
    xl_assert_error(&console, 1, "connects to");
    xl_destroy_guest();
}

/* Nobody is there when the guest is started. */
TEST_TIMEOUT(port_that_connects_to_a_path__does_so_again_and_again, XL_TEST_S)
{
    AUTO_FD int listener = -1;

    create("serial = 'unix:line'");
    assert_ok(libspawn__stream_listen("punix:line", 0600, &listener, NULL),
              NULL);
    assert_connects_again(listener);
}

TEST_TIMEOUT(port_that_connects_by_tcp__does_so_again_and_again, XL_TEST_S)
{
    AUTO_FREE char *name = NULL;
    AUTO_FREE char *lines = NULL;
    AUTO_FD int listener = -1;

    assert_ok(
        libspawn__stream_listen_anywhere("ptcp:0:[::1]", 0, &listener, NULL),
        NULL);
    assert_ok(libspawn__stream_bound_name(listener, &name, NULL), NULL);
    lines = libspawn__str_format("serial = '%s'", name);
    create(lines);
    assert_connects_again(listener);
}

/* Without a comma it is ours, with one QEMU's own. */
TEST_TIMEOUT(port_in_the_words_of_qemu__is_passed_on, XL_TEST_S)
{
    AUTO_FREE char *lines = libspawn__str_format(
        "serial = 'unix:%s/line,server=on,wait=off'", harness_dir());
    AUTO_FD int fd = -1;

    create(lines);
    fd = connect_to("unix:line");
    ck_assert_int_eq(send(fd, "x\r", 2, MSG_NOSIGNAL), 2);
    ck_assert(hears(fd, "> "));
    xl_destroy_guest();
}

TEST_MAIN_UNLESS("xl_serial", xl_no_qemu)
