/*
 * libspawn_events_open: a reader of the event log on the context's loop.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"
#include "guest/events.h"
#include "guest/events_reader.h"
#include "proc/ctx.h"

enum {
    MAX_PER_TURN = 64, /* then the other sources of the loop have theirs */
    POLL_MS = 100      /* when the kernel tells us nothing */
};

struct libspawn_events {
    struct libspawn__events_reader reader;
    libspawn_guest_event_fn *fn;
    void *user;
    struct libspawn__io io;
    struct libspawn__task task;
    struct libspawn__timer timer;
    bool *is_closed; /* while 'fn' runs */
};

static void
deliver(struct libspawn_events *events)
{
    struct libspawn_guest_event event;
    bool is_closed = false;
    int n;

    events->is_closed = &is_closed;
    for (n = 0; n < MAX_PER_TURN; n++) {
        if (!libspawn__events_reader_next(&events->reader, &event)) {
            break;
        }
        events->fn(events->user, &event);
        if (is_closed) {
            return;
        }
    }
    events->is_closed = NULL;
    if (n == MAX_PER_TURN) {
        libspawn__task_post(&events->task);
    } else if (events->reader.is_blind) {
        libspawn__timer_set(&events->timer,
                            libspawn__clock_now_ms() + POLL_MS);
    }
}

void
libspawn__events_flush(struct libspawn_events *events)
{
    struct libspawn_guest_event event;

    while (libspawn__events_reader_next(&events->reader, &event)) {
        events->fn(events->user, &event);
    }
}

static void
on_readable(struct libspawn__io *io, uint32_t ready)
{
    (void)ready;
    deliver(CONTAINER_OF(io, struct libspawn_events, io));
}

static void
on_task(struct libspawn__task *task)
{
    deliver(CONTAINER_OF(task, struct libspawn_events, task));
}

static void
on_timer(struct libspawn__timer *timer)
{
    deliver(CONTAINER_OF(timer, struct libspawn_events, timer));
}

int
libspawn_events_open(struct libspawn_host *host, bool from_start,
                     libspawn_guest_event_fn *fn, void *user,
                     struct libspawn_events **events_r,
                     struct libspawn_err *err)
{
    struct libspawn__loop *loop = host->ctx->loop;
    struct libspawn_events *events = calloc(1, sizeof *events);
    int rc;

    if (!events) {
        return libspawn__fail_nomem(err);
    }
    events->fn = fn;
    events->user = user;
    libspawn__task_init(loop, &events->task, on_task);
    libspawn__timer_init(loop, &events->timer, on_timer);
    rc = libspawn__events_reader_open(&events->reader, host->state_dir,
                                      from_start, err);
    if (!rc && events->reader.fd >= 0) {
        rc = libspawn__io_add(loop, &events->io, events->reader.fd, EPOLLIN,
                              on_readable, err);
    }
    if (rc) {
        libspawn_events_close(events);
        return rc;
    }
    libspawn__task_post(&events->task);
    *events_r = events;
    return 0;
}

void
libspawn_events_close(struct libspawn_events *events)
{
    if (!events) {
        return;
    }
    if (events->is_closed) {
        *events->is_closed = true;
    }
    libspawn__task_cancel(&events->task);
    libspawn__timer_cancel(&events->timer);
    libspawn__io_remove(&events->io);
    libspawn__events_reader_dispose(&events->reader);
    free(events);
}
