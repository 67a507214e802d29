/*
 * Ending a device model of somebody else on the loop.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dm/end.h"
#include "tests/lib/harness.h"

enum {
    GRACE_MS = 300,
    WAIT_MS = 5000
};

#define RECORD "/record"

static struct libspawn__loop *loop;
static struct libspawn__store *store;
static struct libspawn__dm_ending ending;
static struct libspawn_err err;
static int n_calls;
static int code;

static void
on_ended(void *user, const struct libspawn_err *why)
{
    (void)user;
    n_calls++;
    code = why ? why->code : 0;
}

static void
begin(void)
{
    assert_ok(libspawn__loop_new(&loop, &err), &err);
    assert_ok(libspawn__store_open("dir:store", &store, &err), &err);
    libspawn__dm_ending_init(&ending, loop, on_ended, NULL);
}

static void
end(void)
{
    libspawn__dm_ending_stop(&ending);
    libspawn__store_close(store);
    libspawn__loop_free(loop);
}

/* A process that waits, and that SIGTERM ends or not. */
static pid_t
start_process(bool heeds_sigterm)
{
    char byte;
    int fds[2];
    pid_t pid;

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (!pid) {
        signal(SIGTERM, heeds_sigterm ? SIG_DFL : SIG_IGN);
        if (write(fds[1], "", 1) == 1) {
            pause();
        }
        _exit(0);
    }
    ck_assert_int_eq(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

static void
identify(pid_t pid, struct libspawn__identity *id)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;

    assert_ok(libspawn__pidref_from_pid(pid, &ref, &err), &err);
    *id = ref.id;
}

/* A watcher that is gone is as good as none. */
static void
write_record(pid_t child, pid_t watcher)
{
    struct libspawn__record record = { .state = LIBSPAWN__RECORD_RUNNING };

    identify(child, &record.child);
    identify(getpid(), &record.caller);
    identify(watcher ? watcher : child, &record.watcher);
    if (!watcher) {
        record.watcher.start_time--;
    }
    assert_ok(libspawn__record_write(store, RECORD, &record, &err), &err);
}

static void
await_call(void)
{
    while (!n_calls) {
        assert_ok(libspawn__loop_wait(loop, WAIT_MS, &err), &err);
    }
}

static void
assert_killed_by(pid_t pid, int number)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), number);
}

TEST(dm_ending_of_one_that_heeds_sigterm__comes_by_that)
{
    pid_t pid = start_process(true);

    begin();
    write_record(pid, 0);
    assert_ok(libspawn__dm_ending_start(&ending, store, RECORD, WAIT_MS, &err),
              &err);
    await_call();
    ck_assert_int_eq(code, 0);
    assert_killed_by(pid, SIGTERM);
    end();
}

TEST(dm_ending_of_one_that_ignores_sigterm__kills_it_after_the_grace)
{
    pid_t pid = start_process(false);

    begin();
    write_record(pid, 0);
    assert_ok(
        libspawn__dm_ending_start(&ending, store, RECORD, GRACE_MS, &err),
        &err);
    await_call();
    ck_assert_int_eq(code, 0);
    assert_killed_by(pid, SIGKILL);
    end();
}

TEST(dm_ending_without_grace__kills_at_once)
{
    pid_t pid = start_process(true);

    begin();
    write_record(pid, 0);
    assert_ok(libspawn__dm_ending_start(&ending, store, RECORD, 0, &err),
              &err);
    await_call();
    assert_killed_by(pid, SIGKILL);
    end();
}

TEST(dm_ending_without_a_record__is_told_from_dispatch)
{
    begin();
    assert_ok(libspawn__dm_ending_start(&ending, store, RECORD, 0, &err),
              &err);
    ck_assert_int_eq(n_calls, 0);
    await_call();
    ck_assert_int_eq(code, 0);
    end();
}

/* Its last words are still to come. */
TEST(dm_ending__waits_for_the_watcher_too)
{
    pid_t watcher = start_process(true);
    pid_t pid = start_process(true);

    begin();
    write_record(pid, watcher);
    assert_ok(libspawn__dm_ending_start(&ending, store, RECORD, WAIT_MS, &err),
              &err);
    assert_killed_by(pid, SIGTERM);
    assert_ok(libspawn__loop_wait(loop, WAIT_MS, &err), &err);
    assert_ok(libspawn__loop_wait(loop, 0, &err), &err);
    ck_assert_int_eq(n_calls, 0);
    kill(watcher, SIGKILL); /* our unreaped child */
    await_call();
    assert_killed_by(watcher, SIGKILL);
    end();
}

TEST(dm_ending_that_was_stopped__tells_nothing)
{
    pid_t pid = start_process(false);

    begin();
    write_record(pid, 0);
    assert_ok(
        libspawn__dm_ending_start(&ending, store, RECORD, GRACE_MS, &err),
        &err);
    libspawn__dm_ending_stop(&ending);
    assert_ok(libspawn__loop_wait(loop, 2 * GRACE_MS, &err), &err);
    ck_assert_int_eq(n_calls, 0);
    kill(pid, SIGKILL); /* our unreaped child */
    assert_killed_by(pid, SIGKILL);
    end();
}

TEST_MAIN("dm_end")
