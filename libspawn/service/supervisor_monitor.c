/*
 * The monitor of a supervisor that was started with one: a process that
 * brings the next supervisor at once (tools/guest-supervisor/monitor.h); not
 * that of QEMU.  Each of the two notices the end of the other, and starts
 * another one.
 *
 * Which process it is, its pid file tells.  The supervisor need not be its
 * child, nor the reverse.
 */
#include "base/clock.h"
#include "base/util.h"
#include "guest/supervised.h"
#include "proc/ctx.h"
#include "service/supervisor.h"

enum {
    RESTART_MS = 10000, /* between two starts at least */
    DYING_MS = 100      /* from its last descriptor to its end */
};

static void
drop(struct libspawn__supervisor *s)
{
    libspawn__io_remove(&s->monitor_io);
    libspawn__pidref_reap(&s->monitor);
    libspawn__pidref_dispose(&s->monitor);
    s->monitor = (struct libspawn__pidref)LIBSPAWN__PIDREF_INIT;
}

static void
on_end(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__supervisor *s =
        CONTAINER_OF(io, struct libspawn__supervisor, monitor_io);

    (void)events;
    if (libspawn__pidref_has_ended(&s->monitor)) {
        drop(s);
        libspawn__supervisor_watch_monitor(s);
    }
}

static int
watch(struct libspawn__supervisor *s)
{
    int rc = libspawn__io_add(s->host->ctx->loop, &s->monitor_io,
                              s->monitor.fd, EPOLLIN, on_end, NULL);

    if (rc) {
        drop(s);
    }
    return rc;
}

static int
find(struct libspawn__supervisor *s)
{
    int rc = libspawn__supervised_find_monitor(s->host, s->config->name,
                                               &s->monitor, NULL);

    return rc ? rc : watch(s);
}

/* It ends at once if there is another, which is then found. */
static int
start(struct libspawn__supervisor *s)
{
    pid_t pid;
    int rc = libspawn__supervised_start_monitor(s->host, s->config->name, &pid,
                                                NULL);

    if (!rc) {
        rc = libspawn__pidref_of_child(pid, &s->monitor, NULL);
    }
    return rc ? rc : watch(s);
}

/* A host without room for a process may have some later. */
void
libspawn__supervisor_on_monitor_timer(struct libspawn__timer *timer)
{
    struct libspawn__supervisor *s =
        CONTAINER_OF(timer, struct libspawn__supervisor, monitor_timer);

    if (find(s)) {
        s->monitor_start_at =
            libspawn__clock_now_ms() + RESTART_MS / libspawn__clock_scale();
        if (start(s)) {
            libspawn__timer_set(timer, s->monitor_start_at);
        }
    }
}

/* One that crashes all the time is not started all the time. */
void
libspawn__supervisor_watch_monitor(struct libspawn__supervisor *s)
{
    if (s->memory.is_monitored && s->monitor.fd < 0 &&
        s->state != LIBSPAWN__STATE_TERMINATED && find(s)) {
        libspawn__timer_set(
            &s->monitor_timer,
            MAX(libspawn__clock_now_ms(), s->monitor_start_at));
    }
}

bool
libspawn__supervisor_has_monitor(struct libspawn__supervisor *s)
{
    return s->monitor.fd >= 0 &&
           libspawn__pidref_wait(&s->monitor, DYING_MS, NULL) ==
               LIBSPAWN_ERR_TIMEOUT;
}

void
libspawn__supervisor_forget_monitor(struct libspawn__supervisor *s)
{
    libspawn__timer_cancel(&s->monitor_timer);
    drop(s);
}
