/*
 * What a watcher gives up when its child is released, and that it does its
 * work all the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "tests/flow/spawn_story.h"
#include "tools/spawn-watcher/watcher.h"

/* A number in /proc/PID/status; -1: there is none. */
static long
status_of(pid_t pid, const char *name)
{
    AUTO_FREE char *path = libspawn__str_format("/proc/%d/status", (int)pid);
    AUTO_FREE char *key = libspawn__str_format("\n%s:", name);
    AUTO_FREE char *text = harness_read_file(path);
    const char *found = strstr(text, key);

    return found ? strtol(found + strlen(key), NULL, 10) : -1;
}

static pid_t
watcher_pid(struct story *story)
{
    struct libspawn__record record;

    ck_assert(story_read_record(story, &record));
    return record.watcher.pid;
}

static bool
is_confined(void *user)
{
    return status_of(*(const pid_t *)user, "Seccomp") == 2;
}

static void
assert_confined(pid_t pid)
{
    ck_assert(harness_wait_until(is_confined, &pid, STORY_WAIT_MS));
}

/* ---- The watcher ------------------------------------------------------- */

TEST(watcher_of_a_released_child__is_confined_and_the_child_is_not)
{
    AUTO_STORY struct story story;
    long before = status_of(getpid(), "Seccomp");

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    ck_assert_int_eq(status_of(watcher_pid(&story), "Seccomp"), before);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    assert_confined(watcher_pid(&story));
    ck_assert_int_eq(status_of(libspawn_child_pid(story.child), "Seccomp"),
                     before);
    ck_assert_int_eq(status_of(libspawn_child_pid(story.child), "NoNewPrivs"),
                     status_of(getpid(), "NoNewPrivs"));
    story_end_released(&story);
}

/* The filter goes along, and there shall not be one more each time. */
TEST(confined_watcher_is_upgraded__works_with_the_one_filter)
{
    AUTO_STORY struct story story;
    struct libspawn_err err;
    long n_filters;
    pid_t pid;
    int i;

    story_begin(&story);
    story_model(&story, "--never-ready");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    pid = watcher_pid(&story);
    assert_confined(pid);
    n_filters = status_of(pid, "Seccomp_filters");
    for (i = 0; i < 3; i++) {
        assert_ok(libspawn_child_upgrade_watcher(story.child, &err), &err);
    }
    ck_assert_int_eq(watcher_pid(&story), pid);
    ck_assert_int_eq(status_of(pid, "Seccomp_filters"), n_filters);
    libspawn_child_stop(story.child);
    story_await(&story, "started ready exited");
    ck_assert_int_eq(story_record_state(&story), LIBSPAWN__RECORD_EXITED);
}

/* All that a watcher does late: more output than a file takes, descendants,
 * the record, those who attach. */
TEST(confined_watcher__rotates_ends_and_records)
{
    AUTO_STORY struct story story;
    AUTO_FREE char *path = libspawn__str_format("%s/log", harness_dir());
    struct libspawn__record record;
    struct libspawn_err err;

    story_begin(&story);
    libspawn_plan_set_log(story.plan, path, 4000, 2);
    libspawn_plan_set_directory(story.plan, harness_dir());
    story_program(&story, "/bin/sh", "-c",
                  "while ! [ -e go ]; do sleep 0.01; done; seq 1 3000; "
                  "(trap '' TERM; sleep 60) & exit 7");
    story_run(&story);
    story_release(&story, LIBSPAWN_RELEASE_WATCHED);
    assert_confined(watcher_pid(&story));
    story_forget(&story);
    assert_ok(libspawn_child_adopt(story.ctx, story.address, STORY_RECORD,
                                   story_on_event, &story, &story.child, &err),
              &err);
    harness_write_file("go", "");
    story_await(&story, "exited");
    ck_assert_int_eq(story_report(&story)->exit_code, 7);
    assert_contains(story_report(&story)->tail, "3000\n");
    ck_assert_int_eq(access("log.2", F_OK), 0);
    ck_assert(story_read_record(&story, &record));
    ck_assert_int_eq(record.state, LIBSPAWN__RECORD_EXITED);
    ck_assert(record.is_known);
}

/* ---- The filter -------------------------------------------------------- */

/* Each returns what its call does; all would work for somebody. */
static int
make_internet_socket(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int
make_packet_socket(void)
{
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static int
execute_by_path(void)
{
    char *const argv[] = { (char[]){ "true" }, NULL };

    return execve("/bin/true", argv, NULL);
}

static int
enter_namespace(void)
{
    return unshare(CLONE_NEWNS);
}

static int
mount_something(void)
{
    return mount("none", "/", "tmpfs", MS_RDONLY, NULL);
}

static int
change_user(void)
{
    return (int)syscall(SYS_setresuid, -1, -1, -1);
}

static int
load_program(void)
{
    return (int)syscall(SYS_bpf, 0, NULL, 0);
}

static int
make_process(void)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    errno = EPERM; /* these are allowed it */
    return -1;
#else
    return (int)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
#endif
}

/* Allowed ones: -1 and EPERM would be wrong. */
static int
make_local_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int
open_file(void)
{
    return open("file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
}

static int
execute_by_descriptor(void)
{
    char *const argv[] = { (char[]){ "true" }, NULL };
    int fd = open("/bin/true", O_PATH | O_CLOEXEC);

    return (int)syscall(SYS_execveat, fd, "", argv, NULL, AT_EMPTY_PATH);
}

/* In a process of its own: the errno of the call, 0 when it works. */
static int
try(int (*call)(void))
{
    pid_t pid = fork();
    int status;

    ck_assert_int_ge(pid, 0);
    if (!pid) {
        if (!watcher_confine_calls()) {
            _exit(ENOTSUP);
        }
        _exit(call() < 0 ? errno : 0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

TEST(confined_process_does_what_no_watcher_needs__is_refused)
{
    static int (*const calls[])(void) = {
        make_internet_socket, make_packet_socket, execute_by_path,
        enter_namespace,      mount_something,    change_user,
        load_program,         make_process,
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(calls); i++) {
        ck_assert_int_eq(try(calls[i]), EPERM);
    }
}

TEST(confined_process_does_what_a_watcher_needs__may)
{
    ck_assert_int_eq(try(make_local_socket), 0);
    ck_assert_int_eq(try(open_file), 0);
    ck_assert_int_eq(try(execute_by_descriptor), 0);
}

/* Without the right to a filter it gives up gaining rights first. */
TEST(confined_process_without_rights__is_confined_too)
{
    if (!geteuid() && (setgid(65534) < 0 || setuid(65534) < 0)) {
        TEST_SKIP("needs another user");
    }
    ck_assert_int_eq(try(make_internet_socket), EPERM);
}

TEST_MAIN("spawn_confined")
