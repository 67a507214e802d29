/*
 * Why slots: the epoll cookie is a slot number and a generation, not a
 * pointer.  An event that was fetched before its source was removed finds
 * another generation in the slot and is dropped, so a callback may free any
 * source at any time.
 */
#include "loop/loop.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"

enum {
    EVENTS_PER_DISPATCH = 64,
    NO_SLOT = UINT32_MAX
};

struct slot {
    struct libspawn__io *io; /* NULL: free */
    uint32_t generation;
};

struct libspawn__loop {
    int epoll_fd;
    int timer_fd;
    int task_fd; /* an eventfd, readable while tasks are pending */
    pid_t creator;
    int64_t now_ms;

    struct slot *slots;
    uint32_t n_slots;
    uint32_t first_free; /* no slot below it is free */

    struct libspawn__list timers; /* earliest first */
    int64_t armed_ms;             /* what timer_fd is set to */
    struct libspawn__list tasks;

    struct libspawn__io timer_io;
    struct libspawn__io task_io;
};

/* ---- Descriptors ------------------------------------------------------- */

static uint64_t
slot_cookie(const struct libspawn__loop *loop, uint32_t slot)
{
    return (uint64_t)loop->slots[slot].generation << 32 | slot;
}

static uint32_t
find_free_slot(struct libspawn__loop *loop)
{
    uint32_t n_old = loop->n_slots;
    uint32_t n_new = n_old ? n_old * 2 : 8;
    struct slot *slots;
    uint32_t i;

    for (i = loop->first_free; i < n_old; i++) {
        if (!loop->slots[i].io) {
            loop->first_free = i;
            return i;
        }
    }
    slots = reallocarray(loop->slots, n_new, sizeof *slots);
    if (!slots) {
        return NO_SLOT;
    }
    for (i = n_old; i < n_new; i++) {
        slots[i] = (struct slot){ NULL, 0 };
    }
    loop->slots = slots;
    loop->n_slots = n_new;
    loop->first_free = n_old;
    return n_old;
}

int
libspawn__io_add(struct libspawn__loop *loop, struct libspawn__io *io, int fd,
                 uint32_t events, libspawn__io_fn *fn,
                 struct libspawn_err *err)
{
    uint32_t slot = find_free_slot(loop);
    struct epoll_event event = { .events = events };

    if (slot == NO_SLOT) {
        return libspawn__fail_nomem(err);
    }
    event.data.u64 = slot_cookie(loop, slot);
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        return libspawn__fail_errno(err, errno, "watching descriptor %d", fd);
    }
    loop->slots[slot].io = io;
    *io = (struct libspawn__io){
        .loop = loop, .fn = fn, .fd = fd, .events = events, .slot = slot
    };
    return 0;
}

void
libspawn__io_modify(struct libspawn__io *io, uint32_t events)
{
    struct epoll_event event = { .events = events };

    if (io->loop && io->events != events) {
        event.data.u64 = slot_cookie(io->loop, io->slot);
        /* Cannot fail for a descriptor that is in the set. */
        epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_MOD, io->fd, &event);
        io->events = events;
    }
}

void
libspawn__io_remove(struct libspawn__io *io)
{
    struct slot *slot;

    if (!io->loop) {
        return;
    }
    epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
    slot = &io->loop->slots[io->slot];
    slot->io = NULL;
    slot->generation++;
    io->loop->first_free = MIN(io->loop->first_free, io->slot);
    io->loop = NULL;
}

/* ---- Timers ------------------------------------------------------------ */

static struct libspawn__timer *
first_timer(struct libspawn__loop *loop)
{
    return libspawn__list_is_empty(&loop->timers)
               ? NULL
               : CONTAINER_OF(loop->timers.next, struct libspawn__timer, link);
}

static void
arm_timer_fd(struct libspawn__loop *loop)
{
    struct libspawn__timer *first = first_timer(loop);
    int64_t at_ms = first ? first->at_ms : LIBSPAWN__NEVER;
    struct itimerspec spec = { 0 };

    if (at_ms == loop->armed_ms) {
        return;
    }
    if (first) {
        /* A zero value would disarm it instead of firing at once. */
        at_ms = MAX(at_ms, 1);
        spec.it_value.tv_sec = at_ms / 1000;
        spec.it_value.tv_nsec = at_ms % 1000 * 1000000;
    }
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    loop->armed_ms = first ? first->at_ms : LIBSPAWN__NEVER;
}

void
libspawn__timer_init(struct libspawn__loop *loop,
                     struct libspawn__timer *timer, libspawn__timer_fn *fn)
{
    libspawn__list_init(&timer->link);
    timer->loop = loop;
    timer->fn = fn;
    timer->at_ms = LIBSPAWN__NEVER;
}

void
libspawn__timer_set(struct libspawn__timer *timer, int64_t at_ms)
{
    struct libspawn__list *where;

    libspawn__list_remove(&timer->link);
    timer->at_ms = at_ms;
    if (at_ms != LIBSPAWN__NEVER) {
        /* From the end: most timers are set with one of a few timeouts, so
         * a new one nearly always belongs last. */
        where = timer->loop->timers.prev;
        while (where != &timer->loop->timers &&
               CONTAINER_OF(where, struct libspawn__timer, link)->at_ms >
                   at_ms) {
            where = where->prev;
        }
        libspawn__list_insert(where, &timer->link);
    }
    arm_timer_fd(timer->loop);
}

void
libspawn__timer_cancel(struct libspawn__timer *timer)
{
    /* A timer that was never initialised (all zero) is not set either. */
    if (timer->loop) {
        libspawn__timer_set(timer, LIBSPAWN__NEVER);
    }
}

static void
run_timers(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__loop *loop =
        CONTAINER_OF(io, struct libspawn__loop, timer_io);
    struct libspawn__timer *timer;
    uint64_t n_expired;

    (void)events;
    /* Drained here; the list knows what has expired, whatever this says. */
    if (read(loop->timer_fd, &n_expired, sizeof n_expired) < 0 &&
        errno == EAGAIN) {
        return;
    }
    loop->armed_ms = LIBSPAWN__NEVER;
    for (;;) {
        timer = first_timer(loop);
        if (!timer || timer->at_ms > loop->now_ms) {
            break;
        }
        libspawn__list_remove(&timer->link);
        timer->fn(timer);
    }
    arm_timer_fd(loop);
}

/* ---- Tasks ------------------------------------------------------------- */

void
libspawn__task_init(struct libspawn__loop *loop, struct libspawn__task *task,
                    libspawn__task_fn *fn)
{
    libspawn__list_init(&task->link);
    task->loop = loop;
    task->fn = fn;
}

void
libspawn__task_post(struct libspawn__task *task)
{
    uint64_t one = 1;
    ssize_t n;

    if (libspawn__list_is_empty(&task->link)) {
        libspawn__list_append(&task->loop->tasks, &task->link);
        /* Else fails only when the counter would overflow: readable then
         * too. */
        do {
            n = write(task->loop->task_fd, &one, sizeof one);
        } while (n < 0 && errno == EINTR);
    }
}

void
libspawn__task_cancel(struct libspawn__task *task)
{
    if (task->loop) {
        libspawn__list_remove(&task->link);
    }
}

static void
run_tasks(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__loop *loop =
        CONTAINER_OF(io, struct libspawn__loop, task_io);
    struct libspawn__list batch;
    uint64_t n_posted;

    (void)events;
    if (read(loop->task_fd, &n_posted, sizeof n_posted) < 0 &&
        errno == EAGAIN) {
        return;
    }
    /* Only what is pending now: a task that posts itself again must let the
     * descriptors have their turn. */
    libspawn__list_init(&batch);
    while (!libspawn__list_is_empty(&loop->tasks)) {
        struct libspawn__list *link = loop->tasks.next;

        libspawn__list_remove(link);
        libspawn__list_append(&batch, link);
    }
    while (!libspawn__list_is_empty(&batch)) {
        struct libspawn__task *task =
            CONTAINER_OF(batch.next, struct libspawn__task, link);

        libspawn__list_remove(&task->link);
        task->fn(task);
    }
}

/* ---- The loop ---------------------------------------------------------- */

static int
open_descriptors(struct libspawn__loop *loop, struct libspawn_err *err)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        return libspawn__fail_errno(err, errno, "making an epoll set");
    }
    loop->timer_fd =
        timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (loop->timer_fd < 0) {
        return libspawn__fail_errno(err, errno, "making a timer descriptor");
    }
    loop->task_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->task_fd < 0) {
        return libspawn__fail_errno(err, errno, "making an event descriptor");
    }
    return 0;
}

int
libspawn__loop_new(struct libspawn__loop **loop_r, struct libspawn_err *err)
{
    struct libspawn__loop *loop = calloc(1, sizeof *loop);
    int rc;

    if (!loop) {
        return libspawn__fail_nomem(err);
    }
    loop->epoll_fd = loop->timer_fd = loop->task_fd = -1;
    loop->creator = getpid();
    loop->armed_ms = LIBSPAWN__NEVER;
    loop->now_ms = libspawn__clock_now_ms();
    libspawn__list_init(&loop->timers);
    libspawn__list_init(&loop->tasks);

    rc = open_descriptors(loop, err);
    if (!rc) {
        rc = libspawn__io_add(loop, &loop->timer_io, loop->timer_fd, EPOLLIN,
                              run_timers, err);
    }
    if (!rc) {
        rc = libspawn__io_add(loop, &loop->task_io, loop->task_fd, EPOLLIN,
                              run_tasks, err);
    }
    if (rc) {
        libspawn__loop_free(loop);
        return rc;
    }
    *loop_r = loop;
    return 0;
}

void
libspawn__loop_free(struct libspawn__loop *loop)
{
    if (loop) {
        libspawn__auto_close(&loop->epoll_fd);
        libspawn__auto_close(&loop->timer_fd);
        libspawn__auto_close(&loop->task_fd);
        free(loop->slots);
        free(loop);
    }
}

int
libspawn__loop_fd(const struct libspawn__loop *loop)
{
    return loop->epoll_fd;
}

int64_t
libspawn__loop_now(const struct libspawn__loop *loop)
{
    return loop->now_ms;
}

static void
run_event(struct libspawn__loop *loop, const struct epoll_event *event)
{
    uint32_t index = (uint32_t)event->data.u64;
    struct slot *slot = &loop->slots[index];

    if (slot->io && slot_cookie(loop, index) == event->data.u64) {
        slot->io->fn(slot->io, event->events);
    }
}

static int
dispatch(struct libspawn__loop *loop, int timeout_ms,
         struct libspawn_err *err)
{
    struct epoll_event events[EVENTS_PER_DISPATCH];
    int n_events;
    int i;

    if (loop->creator != getpid()) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the context was made by another process");
    }
    n_events = epoll_wait(loop->epoll_fd, events, ARRAY_SIZE(events),
                          timeout_ms);
    if (n_events < 0) {
        return errno == EINTR
                   ? 0
                   : libspawn__fail_errno(err, errno, "fetching events");
    }
    loop->now_ms = libspawn__clock_now_ms();
    for (i = 0; i < n_events; i++) {
        run_event(loop, &events[i]);
    }
    return 0;
}

int
libspawn__loop_dispatch(struct libspawn__loop *loop, struct libspawn_err *err)
{
    return dispatch(loop, 0, err);
}

int
libspawn__loop_wait(struct libspawn__loop *loop, int timeout_ms,
                    struct libspawn_err *err)
{
    return dispatch(loop, timeout_ms, err);
}
