/*
 * Waiting for a lock: what it costs, how soon it ends, and by whom.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "include/libspawn-guest.h"
#include "proc/lock_wait.h"
#include "tests/flow/lock_story.h"

enum { WAIT_MS = 5000 };

/* ---- A wait on a loop -------------------------------------------------- */

struct scene {
    struct libspawn_ctx *ctx;
    struct libspawn__lock lock;
    struct libspawn__lock_wait *wait;
    bool is_done;
    struct libspawn_err err; /* code 0: taken */
    int n_sentences;
    char sentence[512];
    bool gives_up;
};

static void
on_lock(void *user, const struct libspawn_err *err)
{
    struct scene *scene = user;

    ck_assert(!scene->is_done);
    scene->is_done = true;
    if (err) {
        scene->err = *err;
    }
}

static int
on_waiting(void *user, int64_t waited_ms, const char *sentence)
{
    struct scene *scene = user;

    if (sentence) {
        ck_assert_int_ge(waited_ms, 1000);
        scene->n_sentences++;
        snprintf(scene->sentence, sizeof scene->sentence, "%s", sentence);
    }
    return scene->gives_up;
}

static void
begin(struct scene *scene)
{
    struct libspawn_err err;
    AUTO_FREE char *path = libspawn__str_format(
        "%s/bin/spawn-watcher", harness_build_dir());
    const struct libspawn_ctx_options options = { .watcher_path = path };

    memset(scene, 0, sizeof *scene);
    scene->lock.fd = -1;
    assert_ok(libspawn_ctx_new(&options, &scene->ctx, &err), &err);
}

static void
start(struct scene *scene, int timeout_ms)
{
    struct libspawn__lock_request request = lock_request("a");
    const struct libspawn__lock_patience patience = {
        .timeout_ms = timeout_ms,
        .waiting = on_waiting,
        .waiting_user = scene,
    };
    struct libspawn_err err;

    assert_ok(libspawn__lock_wait_start(scene->ctx, &request, &patience,
                                        on_lock, scene, &scene->lock,
                                        &scene->wait, &err),
              &err);
}

static void
await(struct scene *scene)
{
    int64_t until = libspawn__clock_now_ms() + WAIT_MS;

    while (!scene->is_done && libspawn__clock_now_ms() < until) {
        libspawn_ctx_wait(scene->ctx, WAIT_MS, NULL);
    }
    ck_assert(scene->is_done);
}

static void
end(struct scene *scene)
{
    libspawn__lock_wait_free(scene->wait);
    libspawn__lock_dispose(&scene->lock);
    libspawn_ctx_free(scene->ctx);
}

TEST(lock_that_is_free__is_there_at_once)
{
    struct scene scene;

    begin(&scene);
    start(&scene, -1);
    ck_assert_ptr_null(scene.wait);
    ck_assert(!lock_is_free("a"));
    end(&scene);
}

/* ---- Cost and speed ---------------------------------------------------- */

static int64_t
cpu_us(int who)
{
    struct rusage usage;

    ck_assert_int_eq(getrusage(who, &usage), 0);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000LL +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

/* The process that waits for us is found by being our only other child. */
static pid_t
find_waiter(pid_t holder)
{
    pid_t pids[4];
    size_t n = harness_child_pids(pids, 4);

    ck_assert_uint_eq(n, 2);
    return pids[0] == holder ? pids[1] : pids[0];
}

/* Covers L8. */
TEST(wait__is_one_call_into_the_kernel)
{
    struct lock_holder holder = lock_hold("a");
    struct scene scene;
    pid_t waiter;

    begin(&scene);
    start(&scene, -1);
    waiter = find_waiter(holder.pid);
    ck_assert(lock_await_call(waiter, F_OFD_SETLKW));
    lock_let_go(&holder);
    await(&scene);
    end(&scene);
}

/* Covers L8, L9. */
TEST(wait_of_a_second__costs_nothing_and_ends_at_once)
{
    struct lock_holder holder = lock_hold("a");
    struct scene scene;
    struct stat before;
    struct stat after;
    int64_t began;
    int64_t used;

    ck_assert_int_eq(stat("a", &before), 0);
    begin(&scene);
    start(&scene, -1);
    ck_assert_ptr_nonnull(scene.wait);
    used = cpu_us(RUSAGE_SELF);
    began = libspawn__clock_now_ms();
    while (libspawn__clock_now_ms() - began < 1500) {
        libspawn_ctx_wait(scene.ctx, 1500, NULL);
    }
    used = cpu_us(RUSAGE_SELF) - used;
    ck_assert_msg(used < 15000, "it used %lld us", (long long)used);
    ck_assert(!scene.is_done);
    lock_kill_holder(&holder);
    began = libspawn__clock_now_ms();
    await(&scene);
    ck_assert_int_lt(libspawn__clock_now_ms() - began, 50);
    ck_assert_int_eq(scene.err.code, 0);
    ck_assert_int_eq(stat("a", &after), 0);
    ck_assert_uint_eq(after.st_ino, before.st_ino);
    ck_assert(!lock_is_free("a"));
    /* What waited in our place too. */
    ck_assert_int_lt(cpu_us(RUSAGE_CHILDREN), 100000);
    end(&scene);
}

/* Covers L18. */
TEST(wait_of_more_than_a_second__names_the_holder_once)
{
    struct lock_holder holder = lock_hold("a");
    AUTO_FREE char *words = libspawn__str_format(
        "waiting for the lock, held by pid %d (test_lock_wait) since 20",
        (int)holder.pid);
    struct scene scene;

    begin(&scene);
    start(&scene, 2500);
    await(&scene);
    ck_assert_int_eq(scene.n_sentences, 1);
    assert_contains(scene.sentence, words);
    lock_let_go(&holder);
    end(&scene);
}

/* Covers L10. */
TEST(wait_with_a_deadline__ends_in_time_and_names_the_holder)
{
    struct lock_holder holder = lock_hold("a");
    AUTO_FREE char *words = libspawn__str_format(
        "the lock was not free within 1000 ms: it is held by pid %d",
        (int)holder.pid);
    int64_t began = libspawn__clock_now_ms();
    int64_t took;
    struct scene scene;

    begin(&scene);
    start(&scene, 1000);
    await(&scene);
    took = libspawn__clock_now_ms() - began;
    ck_assert_int_eq(scene.err.code, LIBSPAWN_ERR_TIMEOUT);
    assert_contains(scene.err.text, words);
    ck_assert_int_ge(took, 1000);
    ck_assert_int_le(took, 1300);
    lock_let_go(&holder);
    ck_assert_msg(lock_is_free("a"), "somebody still waits");
    end(&scene);
}

TEST(wait_that_is_given_up__leaves_nobody_behind)
{
    struct lock_holder holder = lock_hold("a");
    struct scene scene;
    pid_t pids[4];

    begin(&scene);
    start(&scene, -1);
    ck_assert_uint_eq(harness_child_pids(pids, 4), 2);
    libspawn__lock_wait_free(TAKE_PTR(scene.wait));
    ck_assert_uint_eq(harness_child_pids(pids, 4), 1);
    ck_assert(!scene.is_done);
    lock_let_go(&holder);
    ck_assert(lock_is_free("a"));
    end(&scene);
}

TEST(wait_in_which_the_caller_gives_up__is_aborted)
{
    struct lock_holder holder = lock_hold("a");
    struct scene scene;

    begin(&scene);
    scene.gives_up = true;
    start(&scene, -1);
    await(&scene);
    ck_assert_int_eq(scene.err.code, LIBSPAWN_ERR_ABORTED);
    lock_let_go(&holder);
    end(&scene);
}

/* ---- What goes wrong --------------------------------------------------- */

TEST(killed_in_our_place__another_one_waits)
{
    struct lock_holder holder = lock_hold("a");
    struct scene scene;
    int i;

    begin(&scene);
    start(&scene, -1);
    for (i = 0; i < 3; i++) {
        kill(find_waiter(holder.pid), SIGKILL);
        libspawn_ctx_wait(scene.ctx, WAIT_MS, NULL); /* its end */
        libspawn_ctx_wait(scene.ctx, WAIT_MS, NULL); /* the next one */
        ck_assert(!scene.is_done);
    }
    lock_let_go(&holder);
    await(&scene);
    ck_assert_int_eq(scene.err.code, 0);
    ck_assert(!lock_is_free("a"));
    end(&scene);
}

TEST(no_process_can_be_started__it_is_tried_again_and_again)
{
    struct lock_holder holder = lock_hold("a");
    const struct libspawn_ctx_options options = { .watcher_path = "/none" };
    struct scene scene;

    begin(&scene);
    libspawn_ctx_free(scene.ctx);
    assert_ok(libspawn_ctx_new(&options, &scene.ctx, NULL), NULL);
    start(&scene, -1);
    libspawn_ctx_wait(scene.ctx, WAIT_MS, NULL);
    ck_assert(!scene.is_done);
    lock_let_go(&holder);
    await(&scene);
    ck_assert_int_eq(scene.err.code, 0);
    end(&scene);
}

/* Whoever waits must not think that it is alone. */
TEST(file_replaced_meanwhile__the_new_one_is_waited_for)
{
    struct lock_holder old = lock_hold("a");
    struct lock_holder other;
    struct scene scene;

    begin(&scene);
    start(&scene, -1);
    ck_assert_int_eq(remove("a"), 0);
    other = lock_hold("a");
    lock_kill_holder(&old); /* the other one has its pipe too */
    libspawn_ctx_wait(scene.ctx, WAIT_MS, NULL);
    libspawn_ctx_wait(scene.ctx, 100, NULL);
    ck_assert(!scene.is_done);
    lock_let_go(&other);
    await(&scene);
    ck_assert_int_eq(scene.err.code, 0);
    ck_assert(!lock_is_free("a"));
    end(&scene);
}

/* What waits in the place of a process ends with it, in the middle of a wait
 * in the kernel. */
TEST(caller_killed_while_waiting__leaves_nobody_behind)
{
    struct lock_holder holder = lock_hold("a");
    struct scene scene;
    int ready[2];
    char byte;
    pid_t pid;

    ck_assert_int_eq(pipe(ready), 0);
    pid = fork();
    if (!pid) {
        begin(&scene);
        start(&scene, -1);
        libspawn_ctx_wait(scene.ctx, 100, NULL);
        if (write(ready[1], "!", 1) == 1) {
            pause();
        }
        _exit(1);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    lock_let_go(&holder);
    ck_assert(harness_wait_children(WAIT_MS));
    ck_assert(lock_is_free("a"));
}

/* ---- Blocking ---------------------------------------------------------- */

static int
count_calls(void *user, int64_t waited_ms, const char *sentence)
{
    int *n_calls = user;

    (void)waited_ms;
    (void)sentence;
    return ++*n_calls == 4;
}

TEST(blocking_wait__asks_the_caller_until_it_gives_up)
{
    struct lock_holder holder = lock_hold("a");
    struct libspawn__lock_request request = lock_request("a");
    int n_calls = 0;
    const struct libspawn__lock_patience patience = {
        .timeout_ms = -1, .waiting = count_calls, .waiting_user = &n_calls
    };
    struct libspawn_err err = { 0 };
    struct scene scene;

    begin(&scene);
    assert_code(libspawn__lock_await(scene.ctx, &request, &patience,
                                     &scene.lock, &err),
                LIBSPAWN_ERR_ABORTED);
    ck_assert_str_eq(err.text, "waiting for the lock was given up");
    ck_assert_int_eq(n_calls, 4);
    lock_let_go(&holder);
    end(&scene);
}

/* Covers L2. */
TEST(blocking_wait_for_ones_own_lock__is_refused)
{
    AUTO_LOCK struct libspawn__lock again = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request("a");
    const struct libspawn__lock_patience patience = { .timeout_ms = -1 };
    struct libspawn_err err = { 0 };
    struct scene scene;

    begin(&scene);
    start(&scene, -1);
    assert_code(libspawn__lock_await(scene.ctx, &request, &patience, &again,
                                     &err),
                LIBSPAWN_ERR_BUSY);
    ck_assert_str_eq(err.text, "the lock is held by this process already");
    end(&scene);
}

/* ---- A creation -------------------------------------------------------- */

static void
on_created(void *user, uint32_t domid, const struct libspawn_report *report,
           const struct libspawn_err *err)
{
    struct scene *scene = user;

    (void)domid;
    (void)report;
    on_lock(scene, err);
}

static struct libspawn_create *
start_creation(struct scene *scene, struct libspawn_host **host_r)
{
    const struct libspawn_host_options options = { .state_dir = "state" };
    static char name[] = "tale";
    static char program[] = "/none";
    static struct libspawn_guest_config config; /* until it is done */
    struct libspawn_create *create;
    struct libspawn_err err;

    libspawn_guest_config_init(&config);
    config.name = name;
    config.memory_mib = 16;
    config.device_model_override = program;
    assert_ok(libspawn_host_open(scene->ctx, &options, host_r, &err), &err);
    assert_ok(libspawn_guest_create(*host_r, &config, NULL, on_created, scene,
                                    &create, &err),
              &err);
    return create;
}

/* While somebody has the lock of the host, the context serves others. */
TEST(creation_that_waits__blocks_no_dispatch_and_can_be_aborted)
{
    struct libspawn_create *create;
    struct libspawn_host *host;
    struct lock_holder holder;
    struct scene scene;
    int i;

    begin(&scene);
    create = start_creation(&scene, &host);
    holder = lock_hold("state/locks/host");
    for (i = 0; i < 20; i++) {
        int64_t began = libspawn__clock_now_ms();

        assert_ok(libspawn_ctx_dispatch(scene.ctx, NULL), NULL);
        ck_assert_int_lt(libspawn__clock_now_ms() - began, 100);
        libspawn_ctx_wait(scene.ctx, 10, NULL);
    }
    ck_assert(!scene.is_done);
    libspawn_create_abort(create);
    await(&scene);
    ck_assert_int_eq(scene.err.code, LIBSPAWN_ERR_ABORTED);
    libspawn_create_free(create);
    lock_let_go(&holder);
    libspawn_host_close(host);
    end(&scene);
}

/* Each of two operations on one loop goes on when it can. */
TEST(two_creations_that_wait__both_go_on_when_the_lock_is_free)
{
    struct libspawn_create *creations[2];
    struct libspawn_host *hosts[2];
    struct scene scene;
    struct scene second = { .is_done = false };
    struct lock_holder holder;

    begin(&scene);
    second.ctx = scene.ctx;
    creations[0] = start_creation(&scene, &hosts[0]);
    holder = lock_hold("state/locks/host");
    creations[1] = start_creation(&second, &hosts[1]);
    libspawn_ctx_wait(scene.ctx, 100, NULL);
    lock_let_go(&holder);
    await(&scene);
    await(&second);
    /* One of them finds the name in use, and either its program missing. */
    ck_assert_int_ne(scene.err.code, 0);
    ck_assert_int_ne(second.err.code, 0);
    libspawn_create_free(creations[0]);
    libspawn_create_free(creations[1]);
    libspawn_host_close(hosts[0]);
    libspawn_host_close(hosts[1]);
    end(&scene);
    /* Watchers of the starts that failed may take a moment. */
    ck_assert(harness_wait_children(WAIT_MS));
}

/* ---- Many -------------------------------------------------------------- */

enum { N_PROCESSES = 20, N_INCREMENTS = 200 };

static int
increment(void)
{
    AUTO_LOCK struct libspawn__lock lock = LIBSPAWN__LOCK_INIT;
    struct libspawn__lock_request request = lock_request("a");
    AUTO_FREE char *text = NULL;
    char next[16];
    int len;

    if (libspawn__lock_take(&request, &lock, NULL) ||
        libspawn__file_read("counter", sizeof next, &text, NULL, NULL)) {
        return 1;
    }
    len = snprintf(next, sizeof next, "%ld", strtol(text, NULL, 10) + 1);
    return libspawn__file_replace("counter", next, (size_t)len, 0600, NULL);
}

/* Covers L11. */
TEST_TIMEOUT(twenty_processes__count_to_four_thousand, 60)
{
    AUTO_FREE char *text = NULL;
    int i;

    harness_write_file("counter", "0");
    for (i = 0; i < N_PROCESSES; i++) {
        if (!fork()) {
            int n = N_INCREMENTS;

            while (n && !increment()) {
                n--;
            }
            _exit(n ? 1 : 0);
        }
    }
    for (i = 0; i < N_PROCESSES; i++) {
        int status;

        ck_assert_int_gt(wait(&status), 0);
        ck_assert_int_eq(status, 0);
    }
    text = harness_read_file("counter");
    ck_assert_str_eq(text, "4000");
}

TEST_MAIN("lock_wait")
