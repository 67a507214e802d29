/*
 * The workers of a supervisor, for which a disk that hangs is made: one under
 * a lease, which lets its opener wait until it is given back (fcntl(2)).
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "dm/dm.h"
#include "proc/worker_throttle.h"
#include "tests/cli/xl_story.h"
#include "wire/rpc_client.h"

enum {
    PINGS = 100,
    PING_EVERY_MS = 10,
    LATENCY_MAX_MS = 50
};

#define SOCKET "state/supervisors/" XL_GUEST ".sock"
#define PID_FILE "state/supervisors/" XL_GUEST ".pid"

/* ---- Processes --------------------------------------------------------- */

/* The only process of that name below this test; 0: none. */
static pid_t
find_process(const char *name)
{
    pid_t pids[64];
    size_t n = MIN(harness_child_pids(pids, ARRAY_SIZE(pids)),
                   ARRAY_SIZE(pids));
    size_t i;

    for (i = 0; i < n; i++) {
        AUTO_FREE char *path =
            libspawn__str_format("/proc/%d/stat", (int)pids[i]);
        AUTO_FREE char *begin =
            libspawn__str_format("%d (%.15s) ", (int)pids[i], name);
        FILE *file = fopen(path, "re");
        char stat[256] = "";

        if (file) {
            ck_assert(fgets(stat, sizeof stat, file) || !stat[0]);
            fclose(file);
        }
        if (libspawn__str_has_prefix(stat, begin) &&
            stat[strlen(begin)] != 'Z') {
            return pids[i];
        }
    }
    return 0;
}

/* Which is not this one. */
struct other {
    pid_t pid;
    pid_t not_pid;
};

static bool
has_worker(void *user)
{
    struct other *other = user;

    other->pid = find_process("guest-worker");
    return other->pid && other->pid != other->not_pid;
}

static pid_t
await_worker(pid_t not_pid)
{
    struct other other = { .not_pid = not_pid };

    ck_assert(harness_wait_until(has_worker, &other, XL_WAIT_MS));
    return other.pid;
}

static bool
has_no_worker(void *user)
{
    (void)user;
    return !find_process("guest-worker");
}

/* ---- A disk that hangs ------------------------------------------------- */

/* A signal that ends nobody tells of who waits; it is forgotten with each
 * lease. */
static bool
take_lease(int fd)
{
    return !fcntl(fd, F_SETSIG, SIGURG) && !fcntl(fd, F_SETLEASE, F_WRLCK);
}

/* -1, and a skipped test, where files have no leases. */
static int
make_disk_hang(const char *path)
{
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, 1024 * 1024), 0);
    if (!take_lease(fd)) {
        harness_mark_skipped("files have no leases here");
        return -1;
    }
    return TAKE_FD(fd);
}

/* The same for a whole file system, on which nobody can even look at a name:
 * its server, which is us, never answers.  Only this test sees it. */
static int
mount_that_hangs(const char *path)
{
    AUTO_FD int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    AUTO_FREE char *options = libspawn__str_format(
        "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);

    ck_assert_int_eq(mkdir(path, 0700), 0);
    if (fd < 0 || unshare(CLONE_NEWNS) ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("dead", path, "fuse", 0, options)) {
        harness_mark_skipped("no file system can be mounted here");
        return -1;
    }
    return TAKE_FD(fd);
}

static void
revive_disk(int *fd)
{
    close(TAKE_FD(*fd)); /* and with it the lease */
}

/* xl create, as far as it gets with that disk. */
static struct xl_process
start_until_hanging_on(const char *path, const char *timeout)
{
    AUTO_FREE char *line =
        libspawn__str_format("disk = [ '%s,raw,hda,rw' ]", path);
    struct xl_process process;

    xl_write_config(line);
    process = timeout ? xl_start("-v", "create", timeout, XL_CONFIG)
                      : xl_start("-v", "create", XL_CONFIG);
    ck_assert(xl_await_step(&process, "checking its files"));
    await_worker(0);
    return process;
}

static struct xl_process
start_until_hanging(const char *timeout)
{
    return start_until_hanging_on("disk", timeout);
}

/* ---- Asking ------------------------------------------------------------ */

static char *
ask_status(struct libspawn__rpc_session *session)
{
    AUTO_JSON struct libspawn__json *result = NULL;
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);
    struct libspawn_err err;

    assert_ok(libspawn__rpc_session_call(session, "status", NULL, XL_WAIT_MS,
                                         &result, &err),
              &err);
    libspawn__json_put(w, NULL, result);
    return libspawn__json_writer_take(w);
}

static struct libspawn__rpc_session *
connect_supervisor(void)
{
    struct libspawn__rpc_session *session;
    struct libspawn_err err;

    assert_ok(libspawn__rpc_session_open("unix:" SOCKET, XL_WAIT_MS, &session,
                                         &err),
              &err);
    return session;
}

/* How long a process could have run while others did: not its delay. */
static int64_t
time_in_queue_ms(pid_t pid)
{
    AUTO_FREE char *path =
        libspawn__str_format("/proc/%d/schedstat", (int)pid);
    AUTO_FREE char *text = harness_read_file(path);
    const char *second = strchr(text, ' ');

    return second ? strtoll(second, NULL, 10) / 1000000 : 0;
}

static int64_t
ping(struct libspawn__rpc_session *session, pid_t supervisor)
{
    int64_t queued_ms = time_in_queue_ms(supervisor) +
                        time_in_queue_ms(getpid());
    int64_t began_ms = libspawn__clock_now_ms();
    AUTO_FREE char *status = ask_status(session);
    int64_t took_ms = libspawn__clock_now_ms() - began_ms;

    return took_ms - (time_in_queue_ms(supervisor) +
                      time_in_queue_ms(getpid()) - queued_ms);
}

static int64_t
longest_ping(pid_t supervisor)
{
    AUTO_RPC_SESSION struct libspawn__rpc_session *session =
        connect_supervisor();
    int64_t longest_ms = 0;
    int i;

    for (i = 0; i < PINGS; i++) {
        longest_ms = MAX(longest_ms, ping(session, supervisor));
        poll(NULL, 0, PING_EVERY_MS);
    }
    return longest_ms;
}

/* ---- While it hangs ---------------------------------------------------- */

static void
assert_quick_until_interrupted(const char *path)
{
    struct xl_process process = start_until_hanging_on(path, NULL);
    pid_t supervisor = find_process("guest-supervisor");
    int64_t began_ms;

    ck_assert_int_lt(longest_ping(supervisor), LATENCY_MAX_MS);
    began_ms = libspawn__clock_now_ms();
    kill(process.pid, SIGINT);
    ck_assert_int_eq(xl_wait(&process), 128 + SIGINT);
    ck_assert_int_lt(libspawn__clock_now_ms() - began_ms, 1000);
    assert_contains(process.text, "was aborted");
    xl_assert_nothing_left();
}

/* Covers W2. */
TEST_TIMEOUT(disk_that_hangs__leaves_the_supervisor_quick, XL_TEST_S)
{
    AUTO_FD int disk = -1;

    xl_begin();
    disk = make_disk_hang("disk");
    if (disk >= 0) {
        assert_quick_until_interrupted("disk");
    }
}

/* Covers W2. */
TEST_TIMEOUT(mount_of_the_dead__leaves_the_supervisor_quick, XL_TEST_S)
{
    AUTO_FD int server = -1;

    xl_begin();
    server = mount_that_hangs("dead");
    if (server >= 0) {
        assert_quick_until_interrupted("dead/disk");
    }
}

/* Covers W10. */
TEST_TIMEOUT(disk_that_hangs__is_named_at_the_limit, XL_TEST_S)
{
    enum { EXIT_TIMEOUT = 75 };
    AUTO_FD int disk = -1;
    struct xl_process process;

    xl_begin();
    disk = make_disk_hang("disk");
    if (disk < 0) {
        return;
    }
    process = start_until_hanging("--timeout=1");
    ck_assert_int_eq(xl_wait(&process), EXIT_TIMEOUT);
    assert_contains(process.text, "/disk' does not answer: it could not be "
                                  "opened within 1000 ms\n");
    xl_assert_nothing_left();
}

/* Covers D18, W15, M2. */
TEST_TIMEOUT(supervisor_killed_while_its_worker_hangs__is_known_at_once,
             XL_TEST_S)
{
    AUTO_FD int disk = -1;
    struct xl_process process;
    int64_t began_ms;

    xl_begin();
    disk = make_disk_hang("disk");
    if (disk < 0) {
        return;
    }
    process = start_until_hanging(NULL);
    began_ms = libspawn__clock_now_ms();
    kill(find_process("guest-supervisor"), SIGKILL);
    ck_assert_int_eq(xl_wait(&process), 128 + SIGKILL);
    ck_assert_int_lt(libspawn__clock_now_ms() - began_ms, 1000);
    ck_assert(harness_wait_children(XL_WAIT_MS));
}

static bool
is_stopping(void *user)
{
    AUTO_FREE char *status = ask_status(user);

    return strstr(status, "\"state\":\"stopping\"");
}

/* Covers W2: a guest that is to go, while somebody else has its lock. */
TEST_TIMEOUT(guest_locked_by_another__is_removed_without_blocking, XL_TEST_S)
{
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = NULL;
    AUTO_OUTPUT struct harness_output create = { 0 };
    struct xl_process holder;

    xl_begin();
    xl_write_model_config(" ]\non_dm_crash = \"destroy\"\ndisk = [ ");
    create = xl_run("create", XL_CONFIG);
    xl_assert_ok(&create);
    session = connect_supervisor();
    holder = xl_start_talk("lock", XL_GUEST, "--", "cat");
    xl_say(&holder, "it is held\n");
    ck_assert(xl_await_words(&holder, "it is held"));
    kill(find_process("test-device-model"), SIGKILL);
    ck_assert(harness_wait_until(is_stopping, session, XL_WAIT_MS));
    ck_assert_int_lt(longest_ping(find_process("guest-supervisor")),
                     LATENCY_MAX_MS);
    close(TAKE_FD(holder.in));
    ck_assert_int_eq(xl_wait(&holder), 0);
    ck_assert(harness_wait_children(XL_WAIT_MS));
    xl_assert_nothing_left();
}

/* ---- Workers that die -------------------------------------------------- */

/* Covers W8, W14. */
TEST_TIMEOUT(worker_killed__is_replaced_and_the_guest_is_created, XL_TEST_S)
{
    AUTO_FD int disk = -1;
    AUTO_OUTPUT struct harness_output destroy = { 0 };
    struct xl_process process;
    int64_t began_ms;
    pid_t worker;

    xl_begin();
    if (xl_no_qemu()) {
        TEST_SKIP("%s", xl_no_qemu());
    }
    disk = make_disk_hang("disk");
    if (disk < 0) {
        return;
    }
    process = start_until_hanging(NULL);
    worker = await_worker(0);
    began_ms = libspawn__clock_now_ms();
    kill(worker, SIGKILL);
    await_worker(worker);
    ck_assert_int_lt(libspawn__clock_now_ms() - began_ms, 1000);
    ck_assert_int_eq(access(PID_FILE, F_OK), 0);
    ck_assert_int_eq(access(SOCKET, F_OK), 0);
    revive_disk(&disk);
    ck_assert_int_eq(xl_wait(&process), 0);
    ck_assert(harness_wait_until(has_no_worker, NULL, XL_WAIT_MS));
    destroy = xl_run("destroy", XL_GUEST);
    xl_assert_ok(&destroy);
    ck_assert(harness_wait_children(XL_WAIT_MS));
}

static bool
is_degraded(void *user)
{
    AUTO_FREE char *status = ask_status(user);

    return strstr(status, "\"probe\":\"degraded\"");
}

/* Covers W9: its device model died, and cannot be started again because of a
 * disk that hangs, for which all workers die. */
TEST_TIMEOUT(worker_killed_again_and_again__is_told_and_the_supervisor_lives,
             XL_TEST_S)
{
    AUTO_RPC_SESSION struct libspawn__rpc_session *session = NULL;
    AUTO_OUTPUT struct harness_output create = { 0 };
    AUTO_OUTPUT struct harness_output events = { 0 };
    AUTO_OUTPUT struct harness_output list = { 0 };
    AUTO_OUTPUT struct harness_output destroy = { 0 };
    AUTO_FD int disk = -1;
    pid_t worker = 0;
    int i;

    xl_begin();
    xl_write_model_config(" ]\non_dm_crash = \"restart\"\n"
                          "disk = [ 'disk,raw,hda,rw' ");
    disk = make_disk_hang("disk");
    if (disk < 0) {
        return;
    }
    ck_assert_int_eq(fcntl(disk, F_SETLEASE, F_UNLCK), 0);
    create = xl_run("create", XL_CONFIG);
    xl_assert_ok(&create);
    session = connect_supervisor();
    ck_assert(take_lease(disk));
    kill(find_process("test-device-model"), SIGKILL);
    for (i = 0; i < LIBSPAWN__WORKER_DEATHS_MAX; i++) {
        worker = await_worker(worker);
        kill(worker, SIGKILL);
    }
    ck_assert(harness_wait_until(is_degraded, session, XL_WAIT_MS));
    events = xl_run("events");
    assert_contains(events.out, "worker-degraded");
    list = xl_run("dm-list");
    assert_contains(list.out, "; no worker for probe");
    revive_disk(&disk);
    destroy = xl_run("destroy", XL_GUEST);
    xl_assert_ok(&destroy);
    ck_assert(harness_wait_children(XL_WAIT_MS));
}

/* ---- A core ------------------------------------------------------------ */

static bool
is_summarized(void *user)
{
    AUTO_OUTPUT struct harness_output events = xl_run("events");

    (void)user;
    return strstr(events.out, "post-mortem");
}

/* Covers F11, M10. */
TEST_TIMEOUT(core_of_a_device_model__is_summarized_in_its_log, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output create = { 0 };
    AUTO_OUTPUT struct harness_output destroy = { 0 };
    AUTO_FREE char *pattern =
        harness_read_file("/proc/sys/kernel/core_pattern");
    AUTO_FREE char *log = NULL;
    struct rlimit limit;

    xl_begin();
    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &limit), 0);
    if (strcmp(pattern, "core\n") != 0 || limit.rlim_max != RLIM_INFINITY) {
        TEST_SKIP("cores do not stay where they are made here");
    }
    xl_write_model_config("'--core', '--die-after=300'");
    create = xl_run("create", XL_CONFIG);
    xl_assert_ok(&create);
    ck_assert(harness_wait_until(is_summarized, NULL, XL_WAIT_MS));
    log = harness_read_file("state/log/qemu-dm-" XL_GUEST ".log");
    if (access("/usr/bin/gdb", X_OK)) {
        assert_contains(log, "no summary of the core '");
    } else {
        assert_contains(log, "SIGABRT");
    }
    ck_assert(harness_wait_until(has_no_worker, NULL, XL_WAIT_MS));
    destroy = xl_run("destroy", XL_GUEST);
    xl_assert_ok(&destroy);
    ck_assert(harness_wait_children(XL_WAIT_MS));
}

/* ---- What comes back --------------------------------------------------- */

/* The descriptors of a process that are this file: "43 44 ". */
static void
list_fds_of(pid_t pid, const struct stat *file, char text[static 256])
{
    size_t size = 0;
    int fd;

    text[0] = '\0';
    for (fd = 0; fd < 1024 && size < 240; fd++) {
        char path[64];
        struct stat st;

        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
        if (!stat(path, &st) && st.st_ino == file->st_ino &&
            st.st_dev == file->st_dev) {
            size += (size_t)snprintf(text + size, 256 - size, "%d ", fd);
        }
    }
}

static void
assert_fds_of(const char *program, const struct stat *file,
              const char *expected)
{
    char text[256];
    pid_t pid = find_process(program);

    ck_assert_int_ne(pid, 0);
    list_fds_of(pid, file, text);
    ck_assert_str_eq(text, expected);
}

/* Creates a guest of the test device model with a disk, and looks at who has
 * that: the device model as expected, all others not at all. */
static void
assert_disk_is_had(const char *more, const char *expected)
{
    AUTO_OUTPUT struct harness_output create = { 0 };
    AUTO_OUTPUT struct harness_output destroy = { 0 };
    AUTO_FREE char *lines =
        libspawn__str_format(" ]\n%s\ndisk = [ 'disk,raw,hda,rw' ", more);
    struct stat disk;

    xl_write_model_config(lines);
    harness_write_file("disk", "not empty");
    ck_assert_int_eq(stat("disk", &disk), 0);
    create = xl_run("create", XL_CONFIG);
    xl_assert_ok(&create);
    assert_fds_of("test-device-model", &disk, expected);
    assert_fds_of("guest-supervisor", &disk, "");
    assert_fds_of("spawn-watcher", &disk, "");
    destroy = xl_run("destroy", XL_GUEST);
    xl_assert_ok(&destroy);
    ck_assert(harness_wait_children(XL_WAIT_MS));
}

/* Covers W16. */
TEST_TIMEOUT(disk_opened_by_the_worker__is_handed_over_by_number, XL_TEST_S)
{
    AUTO_FREE char *expected =
        libspawn__str_format("%d %d ", LIBSPAWN__DM_DISK_FD,
                             LIBSPAWN__DM_DISK_FD + 1);

    xl_begin();
    if (geteuid()) {
        TEST_SKIP("needs root, to look at what others have");
    }
    assert_disk_is_had("dm_restrict = 1", expected);
}

/* Covers W16. */
TEST_TIMEOUT(disk_only_looked_at__is_inherited_by_nobody, XL_TEST_S)
{
    xl_begin();
    assert_disk_is_had("", "");
}

TEST_MAIN("xl_workers")
