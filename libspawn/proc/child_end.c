/*
 * The end of a child: asking for it, and finding out how it ended when no
 * watcher tells.
 *
 *   libspawn__child_watch_orphan -> on_orphan_end -> await_watcher
 *     -> libspawn__child_on_learn -> finish_orphan
 */
#include "proc/child.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/util.h"
#include "proc/status.h"

enum {
    WATCHER_SLACK_MS = 3000, /* what the watcher may need beyond the grace */
    REAP_MS = 1000,          /* for whoever is the child's parent now */
    LEARN_INTERVAL_MS = 10
};

/* ---- The end ----------------------------------------------------------- */

void
libspawn__child_finish(struct libspawn_child *child)
{
    bool was_ready = child->state == LIBSPAWN__CHILD_READY ||
                     child->state == LIBSPAWN__CHILD_RELEASED;

    child->state = LIBSPAWN__CHILD_ENDED;
    libspawn__timer_cancel(&child->deadline);
    libspawn__timer_cancel(&child->backstop);
    libspawn__timer_cancel(&child->learn_timer);
    libspawn__io_remove(&child->orphan_io);
    libspawn__child_close_watcher(child);
    libspawn__child_post(child, was_ready ? LIBSPAWN_EVENT_EXITED
                                          : LIBSPAWN_EVENT_FAILED);
}

void
libspawn__child_finish_with(struct libspawn_child *child,
                            const struct libspawn__record *end)
{
    struct libspawn_report *pub = &child->report.pub;
    int status = end->wait_status;

    pub->lived_ms = end->lived_ms;
    pub->has_usage = end->has_usage;
    pub->user_us = end->user_us;
    pub->system_us = end->system_us;
    pub->max_rss_kib = end->max_rss_kib;
    if (child->is_end_asked) {
        pub->end = child->asked;
    } else if (!end->is_known) {
        pub->end = LIBSPAWN_END_UNKNOWN;
    } else if (WIFSIGNALED(status)) {
        pub->end = LIBSPAWN_END_SIGNALED;
        pub->signal = WTERMSIG(status);
        pub->core_dumped = WCOREDUMP(status);
        pub->out_of_memory = end->oom == LIBSPAWN__OOM_YES;
        pub->is_oom_known = end->oom != LIBSPAWN__OOM_UNKNOWN;
    } else {
        pub->end = LIBSPAWN_END_EXITED;
        pub->exit_code = WEXITSTATUS(status);
    }
    libspawn__child_finish(child);
}

void
libspawn__child_stop(struct libspawn_child *child, enum libspawn_end why,
                     uint32_t grace_ms)
{
    struct libspawn__watcher_message message = { 0 };

    if (child->state == LIBSPAWN__CHILD_ENDED) {
        return;
    }
    if (!child->is_end_asked) {
        child->is_end_asked = true;
        child->asked = why;
    }
    libspawn__timer_cancel(&child->deadline);
    if (child->watcher_fd >= 0) {
        /* When the watcher is gone the end of the stream says so next. */
        message.u.stop.grace_ms = grace_ms;
        libspawn__child_send(child, &message, LIBSPAWN__WATCHER_STOP, NULL, 0);
        grace_ms += WATCHER_SLACK_MS;
    } else {
        libspawn__pidref_signal(&child->ref, SIGTERM, NULL);
        /* A stopped process takes SIGTERM only when it goes on. */
        libspawn__pidref_signal(&child->ref, SIGCONT, NULL);
    }
    libspawn__timer_set(&child->backstop, libspawn__clock_now_ms() + grace_ms);
}

/* ---- The watcher is gone: the caller takes over ------------------------ */

void
libspawn__child_remove_nodes(const struct libspawn_child *child)
{
    struct libspawn__store *store;
    size_t i;

    if (child->store_address &&
        !libspawn__store_open(child->store_address, &store, NULL)) {
        for (i = 0; i < child->nodes.n_items; i++) {
            libspawn__store_discard(store, NULL, child->nodes.items[i], NULL);
        }
        libspawn__store_close(store);
    }
}

void
libspawn__child_leave_orphan(struct libspawn_child *child)
{
    if (child->orphan_io.loop && child->state != LIBSPAWN__CHILD_RELEASED &&
        !libspawn__pidref_wait(&child->ref, LIBSPAWN__KILL_MS, NULL)) {
        libspawn__child_remove_nodes(child);
    }
    libspawn__io_remove(&child->orphan_io);
}

static void
finish_orphan(struct libspawn_child *child)
{
    child->report.pub.end = child->is_end_asked &&
                                    child->asked != LIBSPAWN_END_STOPPED
                                ? child->asked
                                : LIBSPAWN_END_UNKNOWN;
    libspawn__report_set(&child->report, &child->report.detail,
                         child->is_detached ? "nobody watched it"
                                            : "its watcher died");
    if (child->state != LIBSPAWN__CHILD_RELEASED) {
        libspawn__child_remove_nodes(child);
    }
    libspawn__child_finish(child);
}

/* Nothing is certain but what the kernel told in 'end'; the time of the end is
 * now. */
static void
complete_end(struct libspawn_child *child, bool has_watcher,
             struct libspawn__record *end)
{
    end->state = LIBSPAWN__RECORD_EXITED;
    end->ended_at_ms = libspawn__clock_realtime_ms();
    end->lived_ms =
        end->started_at_ms ? MAX(end->ended_at_ms - end->started_at_ms, 0) : 0;
    end->has_usage = false;
    end->oom = end->is_known && !(WIFSIGNALED(end->wait_status) &&
                                  WTERMSIG(end->wait_status) == SIGKILL)
                   ? LIBSPAWN__OOM_NO
                   : LIBSPAWN__OOM_UNKNOWN;
    if (!end->is_known) {
        libspawn__report_set(&child->report, &child->report.detail,
                             has_watcher ? "its watcher does not answer"
                                         : "its watcher died");
    }
}

/* False, and nothing, when the record is gone or of another process. */
static bool
read_own_record(const struct libspawn_child *child,
                struct libspawn__store *store,
                struct libspawn__record *record_r)
{
    struct libspawn__record record;

    if (!store || !child->nodes.n_items ||
        libspawn__record_read(store, child->nodes.items[0], &record, NULL) ||
        record.child.pid != child->ref.id.pid ||
        record.child.start_time != child->ref.id.start_time) {
        return false;
    }
    *record_r = record;
    return true;
}

/* False when it is not reaped yet, and there is time left. */
static bool
ask_kernel(const struct libspawn_child *child, struct libspawn__record *end)
{
    switch (libspawn__status_from_pidfd(child->ref.fd, &end->wait_status)) {
    case LIBSPAWN__STATUS_NOT_YET:
        return libspawn__clock_now_ms() >= child->learn_until_ms;
    case LIBSPAWN__STATUS_KNOWN:
        end->is_known = true;
        break;
    case LIBSPAWN__STATUS_UNKNOWN:
        break;
    }
    return true;
}

/* What the watcher wrote when it could, else what the kernel tells, which then
 * is written; false when it is not known yet. */
static bool
learn_end(struct libspawn_child *child, struct libspawn__store *store)
{
    struct libspawn__record end = { 0 };
    bool has_watcher = libspawn__pidref_is_alive(&child->watcher);
    bool has_record = read_own_record(child, store, &end);

    if (end.state == LIBSPAWN__RECORD_EXITED) {
        libspawn__child_finish_with(child, &end);
        return true;
    }
    if (!ask_kernel(child, &end)) {
        return false;
    }
    complete_end(child, has_watcher, &end);
    /* One that lives writes it, sooner or later. */
    if (has_record && !has_watcher) {
        libspawn__record_write_end(store, child->nodes.items[0], &end, NULL);
    }
    libspawn__child_finish_with(child, &end);
    return true;
}

void
libspawn__child_on_learn(struct libspawn__timer *timer)
{
    struct libspawn_child *child =
        CONTAINER_OF(timer, struct libspawn_child, learn_timer);
    struct libspawn__store *store = NULL;

    libspawn__io_remove(&child->orphan_io);
    if (child->store_address &&
        libspawn__store_open(child->store_address, &store, NULL)) {
        store = NULL;
    }
    if (!learn_end(child, store)) {
        libspawn__timer_set(&child->learn_timer,
                            libspawn__clock_now_ms() + LEARN_INTERVAL_MS);
    }
    libspawn__store_close(store);
}

static void
start_learning(struct libspawn_child *child)
{
    child->learn_until_ms = libspawn__clock_now_ms() + REAP_MS;
    libspawn__child_on_learn(&child->learn_timer);
}

static void
on_watcher_end(struct libspawn__io *io, uint32_t events)
{
    struct libspawn_child *child =
        CONTAINER_OF(io, struct libspawn_child, orphan_io);

    (void)events;
    if (libspawn__pidref_has_ended(&child->watcher)) {
        start_learning(child);
    }
}

/* A watcher that lives writes the end before it leaves. */
static void
await_watcher(struct libspawn_child *child)
{
    if (!libspawn__pidref_is_alive(&child->watcher) ||
        libspawn__io_add(child->ctx->loop, &child->orphan_io,
                         child->watcher.fd, EPOLLIN, on_watcher_end, NULL)) {
        start_learning(child);
        return;
    }
    libspawn__timer_set(&child->learn_timer, libspawn__clock_now_ms() +
                                                 LIBSPAWN__WATCHER_ANSWER_MS);
}

static void
on_orphan_end(struct libspawn__io *io, uint32_t events)
{
    struct libspawn_child *child =
        CONTAINER_OF(io, struct libspawn_child, orphan_io);

    (void)events;
    if (!libspawn__pidref_has_ended(&child->ref)) {
        return;
    }
    libspawn__io_remove(&child->orphan_io);
    if (child->state == LIBSPAWN__CHILD_RELEASED && !child->is_detached) {
        await_watcher(child);
    } else {
        finish_orphan(child);
    }
}

void
libspawn__child_watch_orphan(struct libspawn_child *child)
{
    libspawn__child_close_watcher(child);
    if (child->ref.fd < 0 ||
        libspawn__io_add(child->ctx->loop, &child->orphan_io, child->ref.fd,
                         EPOLLIN, on_orphan_end, NULL)) {
        finish_orphan(child);
    }
}

/* A held child ends by itself when the watcher does; any other is killed,
 * unless it was released and has a right to live. */
void
libspawn__child_lose_watcher(struct libspawn_child *child)
{
    if (child->state != LIBSPAWN__CHILD_RELEASED || child->is_end_asked) {
        libspawn__pidref_signal(&child->ref, SIGKILL, NULL);
    }
    libspawn__child_watch_orphan(child);
}

static void
kill_watcher(const struct libspawn_child *child)
{
    if (child->watcher.fd >= 0) {
        libspawn__pidref_signal(&child->watcher, SIGKILL, NULL);
    } else {
        libspawn__ctx_kill_watcher(child->ctx, child->watcher_pid);
    }
}

void
libspawn__child_on_backstop(struct libspawn__timer *timer)
{
    struct libspawn_child *child =
        CONTAINER_OF(timer, struct libspawn_child, backstop);

    if (child->watcher_fd < 0) {
        libspawn__pidref_signal(&child->ref, SIGKILL, NULL);
    } else {
        /* The watcher did not answer within its time; act in its place. */
        kill_watcher(child);
        libspawn__child_lose_watcher(child);
    }
}
