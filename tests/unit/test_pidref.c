/*
 * base/pidref.c: a reference to one process and no other.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/pidref.h"
#include "tests/lib/harness.h"

static pid_t
start_sleeper(const char *name)
{
    pid_t pid = fork();

    if (!pid) {
        if (name) {
            prctl(PR_SET_NAME, name);
        }
        for (;;) {
            pause();
        }
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

static void
end(pid_t pid)
{
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static struct libspawn__pidref
refer_to(pid_t pid)
{
    struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn_err err;

    assert_ok(libspawn__pidref_from_pid(pid, &ref, &err), &err);
    return ref;
}

TEST(pidref_of_a_child__is_alive_until_it_ends)
{
    pid_t pid = start_sleeper(NULL);
    AUTO_PIDREF struct libspawn__pidref ref = refer_to(pid);

    ck_assert(libspawn__pidref_is_alive(&ref));
    assert_ok(libspawn__pidref_signal(&ref, SIGKILL, NULL), NULL);
    assert_ok(libspawn__pidref_wait(&ref, 5000, NULL), NULL);
    ck_assert(!libspawn__pidref_is_alive(&ref)); /* a zombie */
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert(!libspawn__pidref_is_alive(&ref));
}

TEST(pidref_identity__leads_to_the_same_process)
{
    pid_t pid = start_sleeper(NULL);
    AUTO_PIDREF struct libspawn__pidref ref = refer_to(pid);
    AUTO_PIDREF struct libspawn__pidref again = LIBSPAWN__PIDREF_INIT;

    assert_ok(libspawn__pidref_open(&ref.id, &again, NULL), NULL);
    ck_assert_int_eq(again.id.pid, pid);
    end(pid);
    assert_code(libspawn__pidref_open(&ref.id, &again, NULL),
                LIBSPAWN_ERR_GONE);
}

/* A process chooses its name, and /proc/PID/stat has it in parentheses. */
TEST(pidref_of_a_process_with_an_odd_name__has_the_right_start_time)
{
    pid_t plain = start_sleeper(NULL);
    pid_t odd = start_sleeper(") R 1 (a b)");
    AUTO_PIDREF struct libspawn__pidref a = refer_to(plain);
    AUTO_PIDREF struct libspawn__pidref b = refer_to(odd);
    AUTO_PIDREF struct libspawn__pidref again = LIBSPAWN__PIDREF_INIT;

    ck_assert(b.id.start_time >= a.id.start_time);
    ck_assert(b.id.start_time < a.id.start_time + 1000);
    assert_ok(libspawn__pidref_open(&b.id, &again, NULL), NULL);
    end(plain);
    end(odd);
}

TEST(pidref_with_another_start_time_or_boot__is_gone)
{
    pid_t pid = start_sleeper(NULL);
    AUTO_PIDREF struct libspawn__pidref ref = refer_to(pid);
    AUTO_PIDREF struct libspawn__pidref other = LIBSPAWN__PIDREF_INIT;
    struct libspawn__identity id = ref.id;

    id.start_time++;
    assert_code(libspawn__pidref_open(&id, &other, NULL), LIBSPAWN_ERR_GONE);
    id = ref.id;
    id.boot_id[35] ^= 1;
    assert_code(libspawn__pidref_open(&id, &other, NULL), LIBSPAWN_ERR_GONE);
    ck_assert_int_eq(other.fd, -1);
    end(pid);
}

/* Numbers that kill(2) would take for a group, or for everybody. */
TEST(pidref_of_no_single_process__is_gone)
{
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
    struct libspawn__identity id = { .pid = 0 };

    assert_code(libspawn__pidref_open(&id, &ref, NULL), LIBSPAWN_ERR_GONE);
    id.pid = -1;
    assert_code(libspawn__pidref_open(&id, &ref, NULL), LIBSPAWN_ERR_GONE);
    id.pid = -getpid();
    assert_code(libspawn__pidref_open(&id, &ref, NULL), LIBSPAWN_ERR_GONE);
}

TEST(pidref_of_a_zombie__is_gone)
{
    AUTO_PIDREF struct libspawn__pidref other = LIBSPAWN__PIDREF_INIT;
    pid_t pid = start_sleeper(NULL);
    AUTO_PIDREF struct libspawn__pidref ref = refer_to(pid);

    kill(pid, SIGKILL);
    assert_ok(libspawn__pidref_wait(&ref, 5000, NULL), NULL);
    assert_code(libspawn__pidref_open(&ref.id, &other, NULL),
                LIBSPAWN_ERR_GONE);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

TEST(pidref_wait_for_the_living__times_out)
{
    pid_t pid = start_sleeper(NULL);
    AUTO_PIDREF struct libspawn__pidref ref = refer_to(pid);
    struct libspawn_err err;
    int64_t began = libspawn__clock_now_ms();

    assert_code(libspawn__pidref_wait(&ref, 50, &err), LIBSPAWN_ERR_TIMEOUT);
    ck_assert_int_ge(libspawn__clock_now_ms() - began, 50);
    end(pid);
}

TEST(pidref_signal_to_the_dead__is_gone)
{
    pid_t pid = start_sleeper(NULL);
    AUTO_PIDREF struct libspawn__pidref ref = refer_to(pid);

    end(pid);
    assert_code(libspawn__pidref_signal(&ref, SIGTERM, NULL),
                LIBSPAWN_ERR_GONE);
}

TEST(pidref_without_process__is_not_alive_and_takes_no_signal)
{
    struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;

    ck_assert(!libspawn__pidref_is_alive(&ref));
    ck_assert_int_lt(libspawn__pidref_signal(&ref, SIGTERM, NULL), 0);
    libspawn__pidref_dispose(&ref);
    libspawn__pidref_dispose(&ref);
}

TEST(pidref_descriptor__is_close_on_exec)
{
    pid_t pid = start_sleeper(NULL);
    AUTO_PIDREF struct libspawn__pidref ref = refer_to(pid);
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *text = NULL;

    ck_assert_int_gt(asprintf(&path, "/proc/self/fdinfo/%d", ref.fd), 0);
    text = harness_read_file(path);
    assert_contains(text, "flags:\t02"); /* O_CLOEXEC is 02000000 */
    end(pid);
}

TEST(identity_look__tells_how_that_process_is)
{
    pid_t pid = start_sleeper(") Z 1 (a b)");
    AUTO_PIDREF struct libspawn__pidref ref = refer_to(pid);
    struct libspawn__process_state state;
    int status;

    kill(pid, SIGSTOP);
    ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    assert_ok(libspawn__identity_look(&ref.id, &state, NULL), NULL);
    ck_assert_int_eq(state.letter, 'T');
    ck_assert_uint_eq(state.start_time, ref.id.start_time);
    ck_assert_int_lt(state.cpu_time_ms, 1000);
    end(pid);
}

TEST(identity_look_at_a_busy_process__has_its_processor_time)
{
    struct libspawn__process_state state;
    struct libspawn__identity id;
    clock_t until = clock() + CLOCKS_PER_SEC / 10;

    while (clock() < until) {
    }
    assert_ok(libspawn__identity_self(&id, NULL), NULL);
    assert_ok(libspawn__identity_look(&id, &state, NULL), NULL);
    ck_assert_int_ge(state.cpu_time_ms, 80); /* it counts in ticks of 10 */
    ck_assert_int_lt(state.cpu_time_ms, 5000);
}

TEST(identity_look_at_another_or_a_zombie__is_gone)
{
    pid_t pid = start_sleeper(NULL);
    AUTO_PIDREF struct libspawn__pidref ref = refer_to(pid);
    struct libspawn__process_state state = { .letter = '-' };
    struct libspawn__identity id = ref.id;

    id.start_time++;
    assert_code(libspawn__identity_look(&id, &state, NULL),
                LIBSPAWN_ERR_GONE);
    id = ref.id;
    id.boot_id[35] ^= 1;
    assert_code(libspawn__identity_look(&id, &state, NULL),
                LIBSPAWN_ERR_GONE);
    kill(pid, SIGKILL);
    assert_ok(libspawn__pidref_wait(&ref, 5000, NULL), NULL);
    assert_code(libspawn__identity_look(&ref.id, &state, NULL),
                LIBSPAWN_ERR_GONE);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    assert_code(libspawn__identity_look(&ref.id, &state, NULL),
                LIBSPAWN_ERR_GONE);
    id.pid = 0;
    assert_code(libspawn__identity_look(&id, &state, NULL),
                LIBSPAWN_ERR_GONE);
    ck_assert_int_eq(state.letter, '-');
}

/* A first thread that has ended looks like a zombie. */
static void *
outlive(void *arg)
{
    while (pause()) {
    }
    return arg;
}

TEST(identity_look_at_a_process_without_its_first_thread__is_not_gone)
{
    struct libspawn__process_state state = { .letter = '-' };
    pid_t pid = fork();

    if (!pid) {
        pthread_t thread;

        pthread_create(&thread, NULL, outlive, NULL);
        pthread_exit(NULL);
    }
    ck_assert_int_gt(pid, 0);
    {
        AUTO_PIDREF struct libspawn__pidref ref = refer_to(pid);

        if (ref.is_by_number) {
            end(pid);
            TEST_SKIP("only a pidfd tells such a process from a dead one");
        }
        while (state.letter != 'Z') {
            assert_ok(libspawn__identity_look(&ref.id, &state, NULL), NULL);
        }
        end(pid);
        assert_code(libspawn__identity_look(&ref.id, &state, NULL),
                    LIBSPAWN_ERR_GONE);
    }
}

TEST(identity_self__is_this_process)
{
    struct libspawn__identity id;
    AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;

    assert_ok(libspawn__identity_self(&id, NULL), NULL);
    ck_assert_int_eq(id.pid, getpid());
    ck_assert_uint_eq(strlen(id.boot_id), LIBSPAWN__BOOT_ID_SIZE - 1);
    assert_ok(libspawn__pidref_open(&id, &ref, NULL), NULL);
}

TEST_MAIN("pidref")
