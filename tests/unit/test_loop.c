/*
 * loop/loop.c: descriptors, timers and tasks behind one descriptor.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/util.h"
#include "loop/loop.h"
#include "tests/lib/harness.h"

static struct libspawn__loop *
new_loop(void)
{
    struct libspawn__loop *loop;
    struct libspawn_err err;

    assert_ok(libspawn__loop_new(&loop, &err), &err);
    return loop;
}

static bool
is_readable(struct libspawn__loop *loop)
{
    struct pollfd pollfd = { .fd = libspawn__loop_fd(loop),
                             .events = POLLIN };

    return poll(&pollfd, 1, 0) == 1;
}

static void
dispatch(struct libspawn__loop *loop)
{
    struct libspawn_err err;

    assert_ok(libspawn__loop_dispatch(loop, &err), &err);
}

static void
wait_for(struct libspawn__loop *loop)
{
    struct libspawn_err err;

    assert_ok(libspawn__loop_wait(loop, 5000, &err), &err);
}

/* ---- Tasks ------------------------------------------------------------- */

struct task {
    struct libspawn__task task;
    struct task *posts; /* another to post when it runs; NULL: none */
    int n_runs;
};

static void
run_task(struct libspawn__task *task)
{
    struct task *own = CONTAINER_OF(task, struct task, task);

    own->n_runs++;
    if (own->posts) {
        libspawn__task_post(&own->posts->task);
    }
}

TEST(task_posted__makes_the_loop_readable_and_runs_once)
{
    struct libspawn__loop *loop = new_loop();
    struct task task = { .n_runs = 0 };

    libspawn__task_init(loop, &task.task, run_task);
    ck_assert(!is_readable(loop));
    libspawn__task_post(&task.task);
    libspawn__task_post(&task.task);
    ck_assert_int_eq(task.n_runs, 0); /* never inside the call */
    ck_assert(is_readable(loop));
    dispatch(loop);
    ck_assert_int_eq(task.n_runs, 1);
    ck_assert(!is_readable(loop));
    libspawn__loop_free(loop);
}

TEST(task_that_posts_itself__does_not_hold_up_dispatch)
{
    struct libspawn__loop *loop = new_loop();
    struct task task = { .n_runs = 0 };

    task.posts = &task;
    libspawn__task_init(loop, &task.task, run_task);
    libspawn__task_post(&task.task);
    dispatch(loop);
    ck_assert_int_eq(task.n_runs, 1);
    ck_assert(is_readable(loop));
    dispatch(loop);
    ck_assert_int_eq(task.n_runs, 2);
    libspawn__task_cancel(&task.task);
    libspawn__loop_free(loop);
}

TEST(task_cancelled__does_not_run)
{
    struct libspawn__loop *loop = new_loop();
    struct task task = { .n_runs = 0 };
    struct libspawn__task never = { .loop = NULL };

    libspawn__task_init(loop, &task.task, run_task);
    libspawn__task_post(&task.task);
    libspawn__task_cancel(&task.task);
    libspawn__task_cancel(&never);
    dispatch(loop);
    ck_assert_int_eq(task.n_runs, 0);
    libspawn__loop_free(loop);
}

struct canceller {
    struct libspawn__task task;
    struct libspawn__task *other;
};

static void
cancel_other(struct libspawn__task *task)
{
    libspawn__task_cancel(CONTAINER_OF(task, struct canceller, task)->other);
}

/* Both are due in the same turn. */
TEST(task_cancelled_by_another__does_not_run)
{
    struct libspawn__loop *loop = new_loop();
    struct task task = { .n_runs = 0 };
    struct canceller canceller = { .other = &task.task };

    libspawn__task_init(loop, &task.task, run_task);
    libspawn__task_init(loop, &canceller.task, cancel_other);
    libspawn__task_post(&canceller.task);
    libspawn__task_post(&task.task);
    dispatch(loop);
    ck_assert_int_eq(task.n_runs, 0);
    libspawn__loop_free(loop);
}

/* ---- Timers ------------------------------------------------------------ */

struct timer {
    struct libspawn__timer timer;
    int order; /* in which it ran; 0: not yet */
    int *n_runs;
};

static void
run_timer(struct libspawn__timer *timer)
{
    struct timer *own = CONTAINER_OF(timer, struct timer, timer);

    own->order = ++*own->n_runs;
}

TEST(timers__run_in_the_order_of_their_times)
{
    static const int delays[] = { 30, 10, 20, 10 };
    static const int order[] = { 4, 1, 3, 2 };
    struct libspawn__loop *loop = new_loop();
    struct timer timers[ARRAY_SIZE(delays)];
    int64_t now = libspawn__clock_now_ms();
    int n_runs = 0;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(timers); i++) {
        timers[i] = (struct timer){ .n_runs = &n_runs };
        libspawn__timer_init(loop, &timers[i].timer, run_timer);
        libspawn__timer_set(&timers[i].timer, now + delays[i]);
    }
    while (n_runs < (int)ARRAY_SIZE(timers)) {
        wait_for(loop);
    }
    ck_assert_int_ge(libspawn__clock_now_ms() - now, 30);
    for (i = 0; i < ARRAY_SIZE(timers); i++) {
        ck_assert_int_eq(timers[i].order, order[i]);
    }
    libspawn__loop_free(loop);
}

TEST(timer_in_the_past__runs_at_once)
{
    struct libspawn__loop *loop = new_loop();
    int n_runs = 0;
    struct timer timer = { .n_runs = &n_runs };

    libspawn__timer_init(loop, &timer.timer, run_timer);
    libspawn__timer_set(&timer.timer, 0);
    wait_for(loop);
    ck_assert_int_eq(n_runs, 1);
    libspawn__timer_set(&timer.timer, -1000);
    wait_for(loop);
    ck_assert_int_eq(n_runs, 2);
    ck_assert(!is_readable(loop));
    libspawn__loop_free(loop);
}

TEST(timer_set_again__has_the_later_time_only)
{
    struct libspawn__loop *loop = new_loop();
    int64_t now = libspawn__clock_now_ms();
    int n_runs = 0;
    struct timer timer = { .n_runs = &n_runs };

    libspawn__timer_init(loop, &timer.timer, run_timer);
    libspawn__timer_set(&timer.timer, now);
    libspawn__timer_set(&timer.timer, now + 60);
    while (!n_runs) {
        wait_for(loop);
    }
    ck_assert_int_ge(libspawn__clock_now_ms() - now, 60);
    ck_assert_int_eq(n_runs, 1);
    libspawn__loop_free(loop);
}

TEST(timer_cancelled__leaves_nothing_to_do)
{
    struct libspawn__loop *loop = new_loop();
    int n_runs = 0;
    struct timer timer = { .n_runs = &n_runs };
    struct libspawn__timer never = { .loop = NULL };

    libspawn__timer_init(loop, &timer.timer, run_timer);
    libspawn__timer_set(&timer.timer, libspawn__clock_now_ms());
    libspawn__timer_cancel(&timer.timer);
    libspawn__timer_cancel(&never);
    ck_assert(!is_readable(loop));
    libspawn__loop_free(loop);
}

/* ---- Descriptors ------------------------------------------------------- */

struct reader {
    struct libspawn__io io;
    int fd;
    int n_calls;
    struct reader *removes; /* another to remove when it is called */
};

static void
count_call(struct libspawn__io *io, uint32_t events)
{
    struct reader *reader = CONTAINER_OF(io, struct reader, io);

    (void)events;
    reader->n_calls++;
    if (reader->removes) {
        libspawn__io_remove(&reader->removes->io);
    }
}

static int
open_readable(void)
{
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    close(fds[1]); /* readable: the end */
    return fds[0];
}

static void
add(struct libspawn__loop *loop, struct reader *reader)
{
    struct libspawn_err err;

    reader->fd = open_readable();
    assert_ok(libspawn__io_add(loop, &reader->io, reader->fd, EPOLLIN,
                               count_call, &err),
              &err);
}

static void
take_away(struct reader *reader)
{
    libspawn__io_remove(&reader->io);
    close(reader->fd);
}

TEST(io_readable__is_called_each_time_until_removed)
{
    struct libspawn__loop *loop = new_loop();
    struct reader reader = { .n_calls = 0 };

    add(loop, &reader);
    dispatch(loop);
    dispatch(loop);
    ck_assert_int_eq(reader.n_calls, 2);
    libspawn__io_remove(&reader.io);
    libspawn__io_remove(&reader.io);
    dispatch(loop);
    ck_assert_int_eq(reader.n_calls, 2);
    ck_assert(!is_readable(loop));
    close(reader.fd);
    libspawn__loop_free(loop);
}

/* Both events were fetched in one turn; the second must be dropped. */
TEST(io_removed_by_another__is_not_called)
{
    struct libspawn__loop *loop = new_loop();
    struct reader a = { .n_calls = 0 };
    struct reader b = { .removes = &a };

    a.removes = &b;
    add(loop, &a);
    add(loop, &b);
    dispatch(loop);
    ck_assert_int_eq(a.n_calls + b.n_calls, 1);
    take_away(&a);
    take_away(&b);
    libspawn__loop_free(loop);
}

struct replacer {
    struct reader reader;
    struct libspawn__loop *loop;
    struct reader *old;
    struct reader *new;
};

static void
replace(struct libspawn__io *io, uint32_t events)
{
    struct replacer *replacer =
        CONTAINER_OF(io, struct replacer, reader.io);

    (void)events;
    replacer->reader.n_calls++;
    if (replacer->old->io.loop) {
        take_away(replacer->old);
        add(replacer->loop, replacer->new);
    }
}

/* The slot is used again at once: an old event must not reach the new one. */
TEST(io_replaced_in_a_callback__does_not_get_the_old_event)
{
    struct libspawn__loop *loop = new_loop();
    struct reader old = { .n_calls = 0 };
    struct reader new = { .n_calls = 0 };
    struct replacer replacer = { .loop = loop, .old = &old, .new = &new };

    replacer.reader.fd = open_readable();
    assert_ok(libspawn__io_add(loop, &replacer.reader.io, replacer.reader.fd,
                               EPOLLIN, replace, NULL),
              NULL);
    add(loop, &old);
    dispatch(loop);
    ck_assert_int_eq(new.n_calls, 0);
    dispatch(loop);
    ck_assert_int_eq(new.n_calls, 1);
    take_away(&new);
    take_away(&replacer.reader);
    libspawn__loop_free(loop);
}

TEST(io_of_many__all_are_called)
{
    enum { N = 300 };
    struct libspawn__loop *loop = new_loop();
    static struct reader readers[N];
    size_t n_called = 0;
    size_t i;

    for (i = 0; i < N; i++) {
        add(loop, &readers[i]);
    }
    while (n_called < N) {
        dispatch(loop);
        for (n_called = 0, i = 0; i < N; i++) {
            n_called += readers[i].n_calls > 0;
        }
    }
    for (i = 0; i < N; i++) {
        take_away(&readers[i]);
    }
    libspawn__loop_free(loop);
}

TEST(io_modified__waits_for_the_other_thing)
{
    struct libspawn__loop *loop = new_loop();
    struct reader reader = { .n_calls = 0 };
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    assert_ok(libspawn__io_add(loop, &reader.io, fds[1], EPOLLIN, count_call,
                               NULL),
              NULL);
    dispatch(loop);
    ck_assert_int_eq(reader.n_calls, 0);
    libspawn__io_modify(&reader.io, EPOLLOUT);
    dispatch(loop);
    ck_assert_int_eq(reader.n_calls, 1);
    libspawn__io_remove(&reader.io);
    close(fds[0]);
    close(fds[1]);
    libspawn__loop_free(loop);
}

TEST(io_of_a_plain_file__is_an_error)
{
    struct libspawn__loop *loop = new_loop();
    struct libspawn__io io = { .loop = NULL };
    struct libspawn_err err;
    AUTO_FD int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    assert_code(libspawn__io_add(loop, &io, fd, EPOLLIN, count_call, &err),
                LIBSPAWN_ERR_DENIED);
    ck_assert_ptr_null(io.loop);
    libspawn__loop_free(loop);
}

/* ---- The whole --------------------------------------------------------- */

TEST(loop_wait_with_nothing_to_do__comes_back_in_time)
{
    struct libspawn__loop *loop = new_loop();
    int64_t began = libspawn__clock_now_ms();

    assert_ok(libspawn__loop_wait(loop, 30, NULL), NULL);
    ck_assert_int_ge(libspawn__clock_now_ms() - began, 29);
    libspawn__loop_free(loop);
}

TEST(loop_in_a_forked_process__refuses)
{
    struct libspawn__loop *loop = new_loop();
    int status;
    pid_t pid = fork();

    if (!pid) {
        _exit(-libspawn__loop_dispatch(loop, NULL));
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(WEXITSTATUS(status), -LIBSPAWN_ERR_INVALID);
    dispatch(loop);
    libspawn__loop_free(loop);
}

TEST(loop_free__takes_null)
{
    libspawn__loop_free(NULL);
}

TEST_MAIN("loop")
