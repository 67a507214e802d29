/*
 * Whole guests on a real Xen host: made by our xl and handled by the stock
 * one, and the reverse; a device model that fails; a creator that is killed.
 *
 * Covers X1, X2, X4, X5, X12, X18 on Xen.
 */
#include "tests/xen/xen_story.h"

#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/host.h"
#include "wire/rpc_client.h"

/* ---- Guests ------------------------------------------------------------ */

/* A guest that greets on its serial port and its screen, with a disk of its
 * own; whatever is left of it after a failed test is removed first. */
static void
write_config(void)
{
    AUTO_FREE char *image =
        libspawn__str_format("%s/guest/hello.img", harness_build_dir());
    AUTO_FREE char *text = libspawn__str_format(
        "name = \"hello\"\ntype = \"hvm\"\nmemory = 32\nvcpus = 1\n"
        "disk = [ '%s/hello.img,raw,hda,rw' ]\nserial = \"pty\"\n",
        harness_dir());
    AUTO_OUTPUT struct harness_output copied =
        harness_run("cp", image, "hello.img");
    AUTO_OUTPUT struct harness_output removed =
        harness_run(STOCK_XL, "destroy", "hello");

    ck_assert_int_eq(copied.status, 0);
    (void)removed;
    harness_write_file("hello.cfg", text);
}

/* Nothing of a guest but dom0's own: domains, nodes, processes, sockets. */
static void
assert_nothing_left(void)
{
    AUTO_OUTPUT struct harness_output list = harness_run(STOCK_XL, "list");
    AUTO_OUTPUT struct harness_output nodes =
        harness_run("xenstore-ls", "-f", "/libxl");
    AUTO_OUTPUT struct harness_output intents =
        harness_run("xenstore-ls", "-f", "/libspawn/create");
    AUTO_OUTPUT struct harness_output files =
        harness_run("find", "/var/run/xen", "/var/lib/xen", "-name", "qmp-*",
                    "-o", "-name", "userdata-d.[1-9]*");
    AUTO_OUTPUT struct harness_output processes =
        harness_run("pgrep", "-f", "^[^ ]*qemu-system.*-xen-domid");

    assert_lacks(list.out, "hello");
    assert_lacks(nodes.out, "dm-version");
    assert_lacks(intents.out, "hello");
    ck_assert_str_eq(files.out, "");
    ck_assert_str_eq(processes.out, "");
}

/* The terminal behind its serial port, as the stock tools find it. */
static int
open_serial(void)
{
    AUTO_OUTPUT struct harness_output domid = OURS("domid", "hello");
    AUTO_FREE char *node = libspawn__str_format(
        "/local/domain/%ld/serial/0/tty", strtol(domid.out, NULL, 10));
    AUTO_OUTPUT struct harness_output tty = harness_run("xenstore-read", node);
    struct termios raw;
    int fd;

    tty.out[strcspn(tty.out, "\n")] = '\0';
    fd = open(tty.out, O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "'%s' of %s cannot be opened", tty.out, node);
    tcgetattr(fd, &raw);
    cfmakeraw(&raw);
    tcsetattr(fd, TCSANOW, &raw);
    return fd;
}

/* Reads until 'text' has come. */
static void
assert_reads(int fd, const char *text)
{
    char seen[4096] = "";
    size_t size = 0;

    while (!strstr(seen, text)) {
        ssize_t n;

        ck_assert_msg(harness_wait_readable(fd, 10 * LONG_S * 1000),
                      "no '%s' in '%s'", text, seen);
        n = read(fd, seen + size, sizeof seen - 1 - size);
        ck_assert_int_gt(n, 0);
        size += (size_t)n;
        seen[size] = '\0';
    }
}

/* ---- Made by ours ------------------------------------------------------ */

TEST_TIMEOUT(xl_create_on_xen__guest_greets_answers_and_shows_a_picture,
             LONG_S)
{
    AUTO_FD int fd = -1;
    AUTO_FREE char *png = NULL;
    size_t size;

    write_config();
    EXPECT(0, OURS("create", "-p", "hello.cfg"));
    fd = open_serial();
    EXPECT(0, OURS("unpause", "hello"));
    assert_reads(fd, "Hello from the guest");
    ck_assert_int_eq(libspawn__fd_write_full(fd, "good day\r", 9), 0);
    assert_reads(fd, "you said: good day");

    EXPECT(0, OURS("screenshot", "hello", "hello.png"));
    assert_ok(libspawn__file_read("hello.png", 1 << 20, &png, &size, NULL),
              NULL);
    ck_assert_int_eq(memcmp(png, "\x89PNG", 4), 0);
    ck_assert_uint_gt(size, 1000); /* a blank one has some 500 bytes */
    EXPECT(0, OURS("destroy", "hello"));
    assert_nothing_left();
}

TEST_TIMEOUT(xl_create_on_xen__stock_xl_lists_pauses_and_destroys_it, LONG_S)
{
    write_config();
    EXPECT(0, OURS("create", "hello.cfg"));
    {
        AUTO_OUTPUT struct harness_output list =
            harness_run(STOCK_XL, "list", "-l", "hello");

        ck_assert_int_eq(list.status, 0);
        assert_contains(list.out, "\"name\": \"hello\"");
        assert_contains(list.out, "hello.img");
    }
    EXPECT(0, harness_run(STOCK_XL, "pause", "hello"));
    {
        AUTO_OUTPUT struct harness_output list = OURS("list", "--json");

        assert_contains(list.out, "\"paused\"");
    }
    EXPECT(0, harness_run(STOCK_XL, "unpause", "hello"));
    EXPECT(0, harness_run(STOCK_XL, "destroy", "hello"));
    assert_nothing_left();
}

/* From where the stock tools have it. */
static pid_t
read_model_pid(void)
{
    AUTO_OUTPUT struct harness_output domid = OURS("domid", "hello");
    AUTO_FREE char *node =
        libspawn__str_format("/local/domain/%ld/image/device-model-pid",
                             strtol(domid.out, NULL, 10));
    AUTO_OUTPUT struct harness_output pid = harness_run("xenstore-read", node);
    AUTO_FREE char *path =
        libspawn__str_format("/proc/%ld/cmdline", strtol(pid.out, NULL, 10));
    AUTO_FREE char *cmdline = NULL;

    assert_ok(libspawn__file_read(path, 65536, &cmdline, NULL, NULL), NULL);
    assert_contains(cmdline, "qemu-system-");
    return (pid_t)strtol(pid.out, NULL, 10);
}

TEST_TIMEOUT(xl_create_on_xen__device_model_pid_is_where_stock_tools_look,
             LONG_S)
{
    write_config();
    EXPECT(0, OURS("create", "-p", "hello.cfg"));
    ck_assert_int_gt(read_model_pid(), 1);
    EXPECT(0, OURS("destroy", "hello"));
    assert_nothing_left();
}

/* ---- Made by the stock xl ---------------------------------------------- */

TEST_TIMEOUT(xl_on_xen__guest_of_stock_xl_is_listed_paused_and_destroyed,
             LONG_S)
{
    write_config();
    EXPECT(0, harness_run(STOCK_XL, "create", "-q", "-e", "hello.cfg"));
    EXPECT(0, OURS("pause", "hello"));
    {
        AUTO_OUTPUT struct harness_output list = OURS("list", "--json");
        AUTO_OUTPUT struct harness_output full = OURS("list", "-l");

        assert_contains(list.out, "\"hello\"");
        assert_contains(list.out, "\"paused\"");
        assert_contains(full.out, "hello.img");
    }
    EXPECT(0, OURS("unpause", "hello"));
    EXPECT(0, OURS("destroy", "hello"));
    assert_nothing_left();
    harness_end_children();
}

/* ---- Failures ---------------------------------------------------------- */

static void
assert_create_fails(const char *model, const char *args, int status,
                    const char *cause)
{
    AUTO_FREE char *override =
        libspawn__str_format("device_model_override=\"%s\"", model);
    AUTO_FREE char *arguments =
        libspawn__str_format("device_model_args=[%s]", args);
    AUTO_OUTPUT struct harness_output done =
        OURS("create", "--timeout", "3", "hello.cfg", override, arguments);

    ck_assert_msg(done.status == status, "status %d: %s", done.status,
                  done.err);
    done.err[strcspn(done.err, "\n")] = '\0'; /* the first line is the cause */
    assert_contains(done.err, "guest 'hello'");
    assert_contains(done.err, cause);
    assert_nothing_left();
}

TEST_TIMEOUT(xl_create_on_xen__names_how_its_device_model_failed, LONG_S)
{
    AUTO_FREE char *model = xen_path_of("test-device-model");

    write_config();
    assert_create_fails("/nonexistent/qemu", "", 127, "No such file");
    assert_create_fails("/etc/passwd", "", 126, "Permission denied");
    assert_create_fails(model, "\"--exit=37\"", 37, "exited with status 37");
    assert_create_fails(model, "\"--signal=SEGV\"", 139, "SIGSEGV");
    assert_create_fails(model, "\"--never-ready\"", 124, "within 3 s");
    /* The name is free at once. */
    EXPECT(0, OURS("create", "-p", "hello.cfg"));
    EXPECT(0, OURS("destroy", "hello"));
}

TEST_TIMEOUT(xl_create_on_xen__second_guest_of_that_name_is_refused, LONG_S)
{
    write_config();
    EXPECT(0, OURS("create", "-p", "hello.cfg"));
    {
        AUTO_OUTPUT struct harness_output second = OURS("create", "hello.cfg");

        ck_assert_int_eq(second.status, 1);
        assert_contains(second.err, "'hello' exists already");
    }
    EXPECT(0, OURS("destroy", "hello"));
    assert_nothing_left();
}

/* Starts xl -v in the background; *messages_r is the end of a pipe. */
static pid_t
start_ours(char *const args[], int *messages_r)
{
    AUTO_FREE char *xl = xen_path_of("xl");
    char verbose[] = "-v";
    char *argv[8] = { xl, verbose };
    posix_spawn_file_actions_t actions;
    size_t i;
    int fds[2];
    pid_t pid;

    for (i = 0; args[i]; i++) {
        argv[i + 2] = args[i];
    }
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 2);
    ck_assert_int_eq(posix_spawn(&pid, xl, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    *messages_r = fds[0];
    return pid;
}

static const char *const steps[] = {
    "making the domain",
    "making its directories",
    "starting the device model",
    "loading its firmware",
    "waiting for the device model",
    "announcing its consoles",
};

/* Kills xl as soon as it has announced the step 'step'. */
static void
kill_in_step(const char *step, bool is_supervised)
{
    char create[] = "create";
    char alone[] = "-e";
    char config[] = "hello.cfg";
    int messages;
    pid_t pid = start_ours(
        (char *[]){ create, config, is_supervised ? NULL : alone, NULL },
        &messages);

    assert_reads(messages, step);
    kill(pid, SIGKILL); /* our unreaped child */
    waitpid(pid, NULL, 0);
    close(messages);
}

TEST_TIMEOUT(xl_killed_on_xen__next_command_removes_what_it_left, LONG_S)
{
    size_t i;

    write_config();
    for (i = 0; i < ARRAY_SIZE(steps); i++) {
        kill_in_step(steps[i], false);
        EXPECT(0, OURS("list"));
        assert_nothing_left();
    }
    harness_wait_children(LONG_S * 1000);
}

TEST_TIMEOUT(xl_killed_on_xen__supervisor_undoes_what_it_began, LONG_S)
{
    size_t i;

    write_config();
    for (i = 0; i < ARRAY_SIZE(steps); i++) {
        kill_in_step(steps[i], true);
        ck_assert(harness_wait_children(LONG_S * 1000));
        assert_nothing_left();
    }
}

/* By the special watch @releaseDomain: whoever ended it. */
TEST_TIMEOUT(xl_shutdown_wait_on_xen__hears_that_the_stock_xl_destroyed_it,
             LONG_S)
{
    char shutdown[] = "shutdown";
    char options[] = "-wF";
    char name[] = "hello";
    int messages;
    int status;
    pid_t pid;

    write_config();
    EXPECT(0, OURS("create", "hello.cfg"));
    pid = start_ours((char *[]){ shutdown, options, name, NULL }, &messages);
    assert_reads(messages, "waiting for the guest");
    EXPECT(0, harness_run(STOCK_XL, "destroy", "hello"));
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    close(messages);
    assert_nothing_left();
}

/* ---- Its supervisor ---------------------------------------------------- */

/* Whoever follows what happens to the guest from now on. */
struct follower {
    pid_t pid;
    int messages;
};

static void
follow(struct follower *follower)
{
    char events[] = "events";
    char options[] = "-f";
    char since[] = "--since=0";
    char name[] = "hello";

    follower->pid = start_ours(
        (char *[]){ events, options, since, name, NULL }, &follower->messages);
}

static void
stop_following(struct follower *follower)
{
    kill(follower->pid, SIGKILL); /* our unreaped child */
    waitpid(follower->pid, NULL, 0);
    close(follower->messages);
}

TEST_TIMEOUT(xl_on_xen__guest_that_powers_off_is_started_again_under_its_name,
             2 * LONG_S)
{
    struct follower follower;
    AUTO_OUTPUT struct harness_output before = { 0 };
    AUTO_OUTPUT struct harness_output after = { 0 };
    AUTO_FD int fd = -1;

    write_config();
    follow(&follower);
    EXPECT(0, OURS("create", "-p", "hello.cfg", "on_poweroff=\"restart\""));
    before = OURS("domid", "hello");
    fd = open_serial();
    EXPECT(0, OURS("unpause", "hello"));
    assert_reads(fd, "> "); /* from now on it heeds its power button */
    EXPECT(0, OURS("shutdown", "-F", "hello"));
    assert_reads(follower.messages, "restarted");
    after = OURS("domid", "hello");
    ck_assert_int_eq(after.status, 0);
    ck_assert_str_ne(after.out, before.out);
    EXPECT(0, OURS("destroy", "hello"));
    assert_reads(follower.messages, "destroyed");
    stop_following(&follower);
    assert_nothing_left();
}

TEST_TIMEOUT(xl_on_xen__device_model_that_is_killed_is_told_and_guest_kept,
             LONG_S)
{
    struct follower follower;
    AUTO_OUTPUT struct harness_output list = { 0 };

    write_config();
    follow(&follower);
    EXPECT(0, OURS("create", "-p", "hello.cfg"));
    ck_assert_int_eq(kill(read_model_pid(), SIGKILL), 0);
    assert_reads(follower.messages, "was killed by SIGKILL (Killed)");
    stop_following(&follower);
    list = OURS("list", "hello");
    assert_contains(list.out, "device model was killed by SIGKILL (Killed)");
    EXPECT(0, harness_run(STOCK_XL, "list", "hello"));
    EXPECT(0, OURS("destroy", "hello"));
    assert_nothing_left();
}

/* The stock script for disks, but slow to give up the device; its exit status
 * then. */
static void
write_slow_config(int seconds, int status)
{
    AUTO_FREE char *script =
        libspawn__str_format("#!/bin/sh\n"
                             "if [ \"$1\" = remove ]; then\n"
                             "    sleep %d\n"
                             "    touch %s/removed\n"
                             "    /etc/xen/scripts/block \"$@\"\n"
                             "    exit %d\n"
                             "fi\n"
                             "exec /etc/xen/scripts/block \"$@\"\n",
                             seconds, harness_dir(), status);
    AUTO_FREE char *text = libspawn__str_format(
        "name = \"hello\"\ntype = \"hvm\"\nmemory = 32\nvcpus = 1\n"
        "disk = [ '%s/hello.img,raw,hda,rw', 'format=raw,vdev=xvdb,access=rw,"
        "backendtype=phy,script=%s/slow,target=%s/more.img' ]\n"
        "serial = \"pty\"\n",
        harness_dir(), harness_dir(), harness_dir());

    write_config();
    EXPECT(0, harness_run("cp", "hello.img", "more.img"));
    harness_write_file("slow", script);
    chmod("slow", 0755);
    harness_write_file("hello.cfg", text);
}

static struct libspawn__rpc_session *
open_control(void)
{
    AUTO_FREE char *dir = NULL;
    AUTO_FREE char *address = NULL;
    struct libspawn__rpc_session *session;
    struct libspawn_err err;

    assert_ok(libspawn__host_find_state_dir(NULL, &dir, &err), &err);
    address = libspawn__str_format("unix:%s/supervisors/hello.sock", dir);
    assert_ok(
        libspawn__rpc_session_open(address, LONG_S * 1000, &session, &err),
        &err);
    return session;
}

/* Asks the supervisor for its status until there is none any more; returns how
 * long an answer took at most. */
static int64_t
ask_until_it_leaves(struct libspawn__rpc_session *session)
{
    int64_t longest = 0;
    int rc = 0;

    while (!rc) {
        int64_t start = libspawn__clock_now_ms();

        rc = libspawn__rpc_session_call(session, "status", NULL, LONG_S * 1000,
                                        NULL, NULL);
        longest = MAX(longest, libspawn__clock_now_ms() - start);
        poll(NULL, 0, 5);
    }
    ck_assert_int_eq(rc, LIBSPAWN_ERR_GONE);
    return longest;
}

/* Covers W2.  The script takes three seconds; an answer is to take 50 ms,
 * which the emulated host stretches. */
TEST_TIMEOUT(xl_on_xen__supervisor_answers_while_a_script_of_its_guest_is_slow,
             LONG_S)
{
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = NULL;
    int64_t longest;

    write_slow_config(3, 0);
    EXPECT(0, OURS("create", "-p", "hello.cfg", "on_dm_crash=\"destroy\""));
    session = open_control();
    ck_assert_int_eq(kill(read_model_pid(), SIGKILL), 0);
    longest = ask_until_it_leaves(session);
    ck_assert_int_eq(access("removed", F_OK), 0);
    ck_assert_int_lt(longest, 1500);
    assert_nothing_left();
}

TEST_TIMEOUT(xl_on_xen__guest_whose_script_fails_is_removed_all_the_same,
             LONG_S)
{
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = NULL;
    struct follower follower;

    write_slow_config(0, 3);
    follow(&follower);
    EXPECT(0, OURS("create", "-p", "hello.cfg", "on_dm_crash=\"destroy\""));
    session = open_control();
    ck_assert_int_eq(kill(read_model_pid(), SIGKILL), 0);
    ask_until_it_leaves(session);
    assert_reads(follower.messages, "remove failed with exit code 3");
    stop_following(&follower);
    assert_nothing_left();
    /* The name is free at once. */
    write_config();
    EXPECT(0, OURS("create", "-p", "hello.cfg"));
    EXPECT(0, OURS("destroy", "hello"));
}

/* Whether the interface, which is made to be up, has a carrier. */
static bool
has_carrier(const char *interface)
{
    AUTO_OUTPUT struct harness_output up =
        harness_run("ip", "link", "set", interface, "up");
    AUTO_OUTPUT struct harness_output show =
        harness_run("ip", "-o", "link", "show", interface);

    return !up.status && strstr(show.out, "LOWER_UP");
}

/* Covers A11. */
TEST_TIMEOUT(xl_on_xen__guest_keeps_its_interfaces_without_its_device_model,
             LONG_S)
{
    AUTO_OUTPUT struct harness_output domid = { 0 };
    AUTO_FREE char *vif = NULL;
    AUTO_FREE char *tap = NULL;
    struct follower follower;
    unsigned int vif_index;
    unsigned int tap_index;

    write_config();
    follow(&follower);
    EXPECT(0, OURS("create", "-p", "hello.cfg", "vif=['script=/bin/true']"));
    domid = OURS("domid", "hello");
    vif = libspawn__str_format("vif%ld.0", strtol(domid.out, NULL, 10));
    tap = libspawn__str_format("%s-emu", vif);
    vif_index = if_nametoindex(vif);
    tap_index = if_nametoindex(tap);
    ck_assert(vif_index && tap_index && has_carrier(tap));

    ck_assert_int_eq(kill(read_model_pid(), SIGKILL), 0);
    assert_reads(follower.messages, "was killed by SIGKILL (Killed)");
    stop_following(&follower);
    ck_assert(if_nametoindex(vif) == vif_index &&
              if_nametoindex(tap) == tap_index && has_carrier(tap));
    EXPECT(0, OURS("destroy", "hello"));
    ck_assert_uint_eq(if_nametoindex(tap), 0);
    assert_nothing_left();
}

TEST_MAIN_UNLESS("xl_guest", xen_why_not)
