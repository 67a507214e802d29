/*
 * What the child says of its start by sd_notify(3): letters to a mailbox of
 * ours, whose name it finds in its environment.
 *
 * Trust: everybody on the host can write to the mailbox.  A letter counts when
 * the kernel says that the child itself sent it, which nobody can forge
 * without CAP_SYS_ADMIN: it is unreaped, so its number is its own.  Of
 * processes that it started this could not be proven, since they may be gone,
 * and their numbers others', when the letter is read.
 *
 * A child may write faster than its caller reads: then the caller is told the
 * last of each, once it has read most of what it was told before.
 */
#include "tools/spawn-watcher/watcher.h"

#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "wire/stream.h"

enum {
    LETTERS_PER_TURN = 16, /* they must not starve the rest */
    UNREAD_MAX = 8192,     /* a few messages, as the kernel counts them */
    RETRY_MS = 50
};

/* Whether there surely is room left for what the caller must not miss. */
static bool
has_caller_read(const struct watcher *w)
{
    int unread = 0;

    return ioctl(w->caller_fd, SIOCOUTQ, &unread) < 0 || unread < UNREAD_MAX;
}

static void
tell_caller(struct watcher *w)
{
    struct libspawn__watcher_message message = { 0 };
    const struct libspawn__notify *untold = &w->untold;

    if (w->caller_fd < 0 || w->state != WATCHER_WAITING ||
        !(untold->has_extension || untold->has_status)) {
        return;
    }
    if (!has_caller_read(w)) {
        libspawn__timer_set(&w->mailbox_timer,
                            libspawn__clock_now_ms() + RETRY_MS);
        return;
    }
    message.u.notified.has_extension = untold->has_extension;
    message.u.notified.extend_ms = untold->extend_ms;
    message.u.notified.has_status = untold->has_status;
    memcpy(message.u.notified.status, untold->status, sizeof untold->status);
    w->untold = (struct libspawn__notify){ 0 };
    watcher_send(w, &message, LIBSPAWN__WATCHER_NOTIFIED, -1);
}

static void
on_retry(struct libspawn__timer *timer)
{
    tell_caller(CONTAINER_OF(timer, struct watcher, mailbox_timer));
}

static void
take_letter(struct watcher *w, const char *bytes, size_t size)
{
    struct libspawn__notify notify;

    libspawn__notify_parse(bytes, size, &notify);
    if (notify.has_extension) {
        w->untold.has_extension = true;
        w->untold.extend_ms = notify.extend_ms;
    }
    if (notify.has_status) {
        w->untold.has_status = true;
        memcpy(w->untold.status, notify.status, sizeof notify.status);
    }
    tell_caller(w);
    if (notify.is_ready) {
        watcher_condition_holds(w, LIBSPAWN_READY_SOCKET);
    }
}

/* So that whoever wonders why the child is not ready finds it in the log. */
static void
refuse_letter(struct watcher *w, pid_t sender)
{
    char line[128];
    int len;

    if (!w->has_refused_letter) {
        w->has_refused_letter = true;
        len = snprintf(line, sizeof line,
                       "spawn-watcher: process %d is not the child: what it "
                       "says by NOTIFY_SOCKET is ignored\n",
                       (int)sender);
        libspawn__log_note(&w->log, line, (size_t)len);
    }
}

static void
on_letter(struct libspawn__io *io, uint32_t events)
{
    struct watcher *w = CONTAINER_OF(io, struct watcher, mailbox_io);
    char bytes[LIBSPAWN__NOTIFY_SIZE_MAX];
    int i;

    (void)events;
    for (i = 0; i < LETTERS_PER_TURN && w->mailbox_io.loop; i++) {
        pid_t sender = 0;
        ssize_t n = libspawn__stream_recv_letter(w->mailbox_fd, bytes,
                                                 sizeof bytes, &sender);

        if (n == -EPROTO) {
            continue; /* too long, and gone */
        } else if (n < 0) {
            return;
        } else if (sender == w->child.id.pid) {
            take_letter(w, bytes, (size_t)n);
        } else {
            refuse_letter(w, sender);
        }
    }
}

int
watcher_open_mailbox(struct watcher *w, struct libspawn_err *err)
{
    AUTO_FREE char *name = NULL;
    int rc;

    libspawn__timer_init(w->loop, &w->mailbox_timer, on_retry);
    if (!(w->plan.ready & LIBSPAWN_READY_SOCKET)) {
        return 0;
    }
    rc = libspawn__stream_open_mailbox(&name, &w->mailbox_fd, err);
    return rc ? rc
              : libspawn__strv_addf(&w->plan.env, err, "NOTIFY_SOCKET=@%s",
                                    name);
}

int
watcher_read_mailbox(struct watcher *w, struct libspawn_err *err)
{
    return w->mailbox_fd < 0
               ? 0
               : libspawn__io_add(w->loop, &w->mailbox_io, w->mailbox_fd,
                                  EPOLLIN, on_letter, err);
}

void
watcher_shut_mailbox(struct watcher *w)
{
    libspawn__timer_cancel(&w->mailbox_timer);
    libspawn__io_remove(&w->mailbox_io);
    if (w->mailbox_fd >= 0) {
        /* It stays open: the child knows its name, which shall not become
         * another's.  Who writes to it gets EPIPE, and never has to wait. */
        shutdown(w->mailbox_fd, SHUT_RD);
    }
}
