/*
 * The end: signals, reaping, descendants, and the last word.
 */
#include "tools/spawn-watcher/watcher.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "proc/status.h"

/* ---- Output ------------------------------------------------------------ */

void
watcher_read_output(struct watcher *w)
{
    enum {
        READS_PER_TURN = 16
    }; /* a noisy child must not starve the rest */
    char bytes[16384];
    int i;

    for (i = 0; w->output_fd >= 0 && i < READS_PER_TURN; i++) {
        ssize_t n = read(w->output_fd, bytes, sizeof bytes);

        if (n > 0) {
            libspawn__log_write(&w->log, bytes, (size_t)n);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && errno == EAGAIN) {
            return;
        } else {
            libspawn__io_remove(&w->output_io);
            libspawn__auto_close(&w->output_fd);
            w->output_fd = -1;
        }
    }
}

/* ---- Descendants ------------------------------------------------------- */

/* Sends SIGKILL to each child; we are the subreaper, so these are what the
 * child left behind, unreaped, and their numbers are theirs.  Children that
 * these leave become ours in turn. */
static void
kill_remaining_children(void)
{
    static const char path[] = "/proc/thread-self/children";
    AUTO_FREE char *text = NULL;
    char *save = NULL;
    char *word;

    if (libspawn__file_read(path, 1024 * 1024, &text, NULL, NULL)) {
        return;
    }
    for (word = strtok_r(text, " ", &save); word;
         word = strtok_r(NULL, " ", &save)) {
        AUTO_PIDREF struct libspawn__pidref ref = LIBSPAWN__PIDREF_INIT;
        uint64_t pid;

        if (!libspawn__str_to_u64(word, 1, INT32_MAX, &pid, NULL) &&
            !libspawn__pidref_from_pid((pid_t)pid, &ref, NULL)) {
            libspawn__pidref_signal(&ref, SIGKILL, NULL);
        }
    }
}

/* Bounded: a process that hangs in the kernel must not hang us too. */
static void
end_descendants(void)
{
    enum {
        ROUNDS = 200,
        ROUND_MS = 10
    };
    const struct timespec round = { 0, ROUND_MS * 1000000 };
    sigset_t sigchld;
    int i;

    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    for (i = 0; i < ROUNDS; i++) {
        pid_t pid;

        do {
            pid = waitpid(-1, NULL, WNOHANG);
        } while (pid > 0);
        if (pid < 0) {
            return; /* none is left */
        }
        kill_remaining_children();
        sigtimedwait(&sigchld, NULL, &round);
    }
}

/* ---- Files ------------------------------------------------------------- */

static void
remove_files(const struct watcher *w)
{
    size_t i;

    for (i = 0; i < w->plan.end_files.n_items; i++) {
        unlink(w->plan.end_files.items[i]);
    }
}

/* ---- The last word ----------------------------------------------------- */

static void
log_end(struct watcher *w)
{
    const struct libspawn__record *end = &w->record;
    char status[LIBSPAWN__STATUS_TEXT_SIZE];
    char line[3 * LIBSPAWN__STATUS_TEXT_SIZE];
    int len;

    libspawn__status_describe(end->is_known, end->wait_status, status);
    len = snprintf(line, sizeof line,
                   "spawn-watcher: process %d %s%s; it lived %" PRId64
                   ".%03" PRId64 " s, used %" PRId64 ".%03" PRId64
                   " s of processor time and %" PRId64 " KiB of memory\n",
                   (int)w->child.id.pid, status,
                   end->oom == LIBSPAWN__OOM_YES ? ", out of memory" : "",
                   end->lived_ms / 1000, end->lived_ms % 1000,
                   (end->user_us + end->system_us) / 1000000,
                   (end->user_us + end->system_us) / 1000 % 1000,
                   end->max_rss_kib);
    libspawn__log_note(&w->log, line, (size_t)len);
}

/* False when one of them is left. */
static bool
remove_pid_nodes(struct watcher *w)
{
    bool is_gone = true;
    size_t i;

    for (i = 0; i < w->plan.pid_nodes.n_items; i++) {
        is_gone &= !libspawn__store_discard(
            w->store, NULL, w->plan.pid_nodes.items[i], NULL);
    }
    return is_gone;
}

/* What cannot be removed is left to the caller.  When that is gone, whoever
 * looked after what it left may have been quicker than the record was written;
 * so what else came with it goes, too. */
static void
remove_records(struct watcher *w)
{
    bool is_gone;

    if (!w->is_recorded || !w->store) {
        return;
    }
    is_gone = remove_pid_nodes(w);
    is_gone &= !libspawn__store_discard(w->store, NULL, w->plan.record_path,
                                        NULL);
    if (!is_gone) {
        struct libspawn__watcher_message message = { 0 };

        watcher_send(w, &message, LIBSPAWN__WATCHER_REMAINS, -1);
    }
    if (w->caller_fd < 0) {
        libspawn__store_prune(w->store, w->plan.record_path, NULL);
    }
}

/* Only a child that was released leaves a record of its end, and even that no
 * pid: whoever read it might send a signal there. */
static void
record_end(struct watcher *w)
{
    struct libspawn_err err;
    char line[sizeof err.text + 64];
    int len;
    int rc;

    w->record.state = LIBSPAWN__RECORD_EXITED;
    w->record.ended_at_ms = libspawn__clock_realtime_ms();
    if (!w->plan.store_address) {
        return;
    }
    rc = libspawn__store_open(w->plan.store_address, &w->store, &err);
    if (!rc) {
        remove_pid_nodes(w);
        rc = libspawn__record_write(w->store, w->plan.record_path, &w->record,
                                    &err);
    }
    if (rc) {
        len = snprintf(line, sizeof line,
                       "spawn-watcher: the end is not recorded: %s\n",
                       err.text);
        libspawn__log_note(&w->log, line, (size_t)len);
    }
}

static void
report_end(struct watcher *w)
{
    struct libspawn__watcher_message message = { 0 };
    enum libspawn__watcher_type type;

    if (w->has_failed) {
        type = LIBSPAWN__WATCHER_FAILED;
        message.u.failed.code = w->failure.code;
        message.u.failed.sys_errno = w->failure.sys_errno;
        message.u.failed.no_exec = w->is_no_exec;
        snprintf(message.u.failed.step, sizeof message.u.failed.step, "%s",
                 w->failed_step ? w->failed_step : "");
        snprintf(message.u.failed.text, sizeof message.u.failed.text, "%s",
                 w->failure.text);
    } else {
        type = LIBSPAWN__WATCHER_ENDED;
        message.u.ended.is_known = w->record.is_known;
        message.u.ended.wait_status = w->record.wait_status;
        message.u.ended.pending = w->pending;
        message.u.ended.lived_ms = w->record.lived_ms;
        message.u.ended.oom = w->record.oom;
        message.u.ended.has_usage = w->record.has_usage;
        message.u.ended.user_us = w->record.user_us;
        message.u.ended.system_us = w->record.system_us;
        message.u.ended.max_rss_kib = w->record.max_rss_kib;
    }
    message.tail_size = (uint32_t)libspawn__log_copy_tail(
        &w->log, message.tail, sizeof message.tail);
    watcher_send(w, &message, type, -1);
    watcher_tell_clients(w, &message, type);
}

static int64_t
microseconds(const struct timeval *time)
{
    return (int64_t)time->tv_sec * 1000000 + time->tv_usec;
}

static void
keep_end(struct watcher *w, int wait_status, const struct rusage *usage)
{
    struct libspawn__record *record = &w->record;

    record->is_known = true;
    record->wait_status = wait_status;
    record->lived_ms = w->executed_at_ms
                           ? libspawn__clock_now_ms() - w->executed_at_ms
                           : 0;
    record->oom = watcher_oom_end(w, wait_status);
    record->has_usage = true;
    record->user_us = microseconds(&usage->ru_utime);
    record->system_us = microseconds(&usage->ru_stime);
    record->max_rss_kib = usage->ru_maxrss;
}

static void
child_ended(struct watcher *w, int wait_status, const struct rusage *usage)
{
    libspawn__timer_cancel(&w->kill_timer);
    keep_end(w, wait_status, usage);
    end_descendants();
    remove_files(w);
    watcher_read_output(w);
    if (w->result_io.loop && !w->has_failed) {
        /* The reason of an exec that failed may still lie in the pipe. */
        w->result_io.fn(&w->result_io, EPOLLIN);
    }
    if (w->is_released) {
        log_end(w);
        record_end(w);
    } else {
        remove_records(w);
    }
    report_end(w);
    libspawn__log_close(&w->log);
    libspawn__store_close(w->store);
    w->store = NULL;
    w->is_done = true;
}

/* ---- Reaping ----------------------------------------------------------- */

void
watcher_reap(struct watcher *w)
{
    struct rusage usage;
    int wait_status;
    pid_t pid;

    for (;;) {
        pid = wait4(-1, &wait_status, WNOHANG, &usage);
        if (pid <= 0) {
            return;
        }
        if (pid == w->child.id.pid) {
            child_ended(w, wait_status, &usage);
            return;
        }
    }
}

static void
on_sigchld(struct libspawn__io *io, uint32_t events)
{
    struct watcher *w = CONTAINER_OF(io, struct watcher, sigchld_io);
    struct signalfd_siginfo info;

    (void)events;
    /* Several signals become one, so what counts is what wait says. */
    /* Whatever else this says, there is something to be reaped. */
    if (read(w->sigchld_fd, &info, sizeof info) > 0 || errno != EAGAIN) {
        watcher_reap(w);
    }
}

static void
on_grace_over(struct libspawn__timer *timer)
{
    struct watcher *w = CONTAINER_OF(timer, struct watcher, kill_timer);

    libspawn__pidref_signal(&w->child, SIGKILL, NULL);
}

int
watcher_watch_children(struct watcher *w, struct libspawn_err *err)
{
    sigset_t sigchld;

    libspawn__timer_init(w->loop, &w->kill_timer, on_grace_over);
    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &sigchld, NULL);
    w->sigchld_fd = signalfd(-1, &sigchld, SFD_CLOEXEC | SFD_NONBLOCK);
    if (w->sigchld_fd < 0) {
        return libspawn__fail_errno(err, errno, "making a signal descriptor");
    }
    return libspawn__io_add(w->loop, &w->sigchld_io, w->sigchld_fd, EPOLLIN,
                            on_sigchld, err);
}

void
watcher_end_child(struct watcher *w, uint32_t grace_ms)
{
    int64_t kill_at_ms = libspawn__clock_now_ms() + grace_ms;

    if (w->state == WATCHER_ENDING) {
        /* Asked again: the earlier moment counts. */
        kill_at_ms = MIN(kill_at_ms, w->kill_timer.at_ms);
    } else {
        w->state = WATCHER_ENDING;
        libspawn__pidref_signal(&w->child, SIGTERM, NULL);
        /* A stopped process would take SIGTERM only when it goes on. */
        libspawn__pidref_signal(&w->child, SIGCONT, NULL);
    }
    libspawn__timer_set(&w->kill_timer, kill_at_ms);
}
