/*
 * What the caller (proc/child.c) and the watcher (tools/spawn-watcher/) say
 * to each other over one SOCK_SEQPACKET pair; a packet is a message.
 * docs/PROTOCOLS.md, "Watcher protocol", says the same in words.
 *
 *     caller                       watcher
 *       PLAN  + plan, fds   ----->                  in the tail, or a memfd
 *                           <-----  HELD + pidfd    child forked, held
 *                           <-----  STARTED         exec succeeded
 *                           <-----  NOTIFIED        the child said something
 *       CONFIRM             ----->                  the caller's condition
 *                           <-----  READY           record says "running"
 *       RELEASE             ----->
 *                           <-----  RELEASED
 *       STOP                ----->
 *                           <-----  REMAINS         records not removed
 *                           <-----  FAILED          could not start; last
 *                           <-----  ENDED + tail    the child's end; last
 *
 * The end of the stream before RELEASE means that the other side died: the
 * watcher ends the child, the caller does it through the pidfd.
 *
 * Whoever comes later (proc/adopt.c) connects to the name in the record:
 *
 *       ATTACH              ----->
 *                           <-----  ATTACHED + memfd, the plan
 *       STOP                ----->                  as above
 *       UPGRADE + program   ----->                  from the caller, too
 *                           <-----  UPGRADED        by the new program
 *                           <-----  ENDED + tail
 *
 * Another role (proc/lock_wait.c), in place of all this:
 *
 *       AWAIT_LOCK + file   ----->
 *                           <-----  the end: it has the lock, or died
 */
#ifndef LIBSPAWN_PROC_PROTOCOL_H
#define LIBSPAWN_PROC_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proc/notify.h"

enum {
    LIBSPAWN__WATCHER_VERSION = 3,
    LIBSPAWN__WATCHER_FD = 3
};

/* Lines of the log that travel with ENDED and FAILED; a plan that is larger
 * than a tail is in a memfd. */
enum {
    LIBSPAWN__TAIL_LINES = 20,
    LIBSPAWN__TAIL_SIZE = 8192
};

enum libspawn__watcher_type {
    /* from the caller */
    LIBSPAWN__WATCHER_PLAN = 1,
    LIBSPAWN__WATCHER_CONFIRM,
    LIBSPAWN__WATCHER_RELEASE,
    LIBSPAWN__WATCHER_STOP,
    LIBSPAWN__WATCHER_ATTACH,
    LIBSPAWN__WATCHER_UPGRADE,
    LIBSPAWN__WATCHER_AWAIT_LOCK, /* in place of PLAN */
    /* from the watcher */
    LIBSPAWN__WATCHER_HELD = 16,
    LIBSPAWN__WATCHER_STARTED,
    LIBSPAWN__WATCHER_READY,
    LIBSPAWN__WATCHER_RELEASED,
    LIBSPAWN__WATCHER_FAILED,
    LIBSPAWN__WATCHER_ENDED,
    LIBSPAWN__WATCHER_ATTACHED,
    LIBSPAWN__WATCHER_UPGRADED,
    LIBSPAWN__WATCHER_NOTIFIED,
    LIBSPAWN__WATCHER_REMAINS
};

/* Bytes that prove to the watcher that somebody could read the record. */
enum { LIBSPAWN__SECRET_SIZE = 33 }; /* hexadecimal digits, and the NUL */

struct libspawn__watcher_message {
    uint32_t version;
    uint32_t type;
    union {
        struct {
            uint32_t detach; /* the watcher shall leave */
        } release;
        struct {
            uint32_t grace_ms; /* between SIGTERM and SIGKILL */
        } stop;
        struct {
            int32_t pid;
            uint32_t padding;
            uint64_t start_time;
        } held;
        struct {
            int32_t code; /* enum libspawn_code */
            int32_t sys_errno;
            uint32_t no_exec; /* a step of the child failed, not of ours */
            char step[20];
            char text[512]; /* one sentence */
        } failed;
        struct {
            int32_t wait_status; /* as of wait(2) */
            uint32_t is_known;   /* otherwise wait_status means nothing */
            int64_t lived_ms;
            uint64_t pending; /* conditions of readiness not true yet */
            uint32_t oom;       /* enum libspawn__oom */
            uint32_t has_usage; /* whether the next three mean anything */
            int64_t user_us;
            int64_t system_us;
            int64_t max_rss_kib;
        } ended;
        struct {
            char secret[LIBSPAWN__SECRET_SIZE];
        } attach;
        struct {
            uint32_t is_released; /* otherwise it is its caller's */
        } attached;
        struct {
            int32_t sys_errno; /* 0: done; otherwise all is as before */
        } upgraded;
        struct {
            uint32_t has_extension;
            uint32_t has_status;
            uint32_t extend_ms; /* how much more the start may take */
            char status[LIBSPAWN__NOTIFY_STATUS_SIZE]; /* what it is doing */
        } notified;
    } u;
    uint32_t tail_size;
    char tail[LIBSPAWN__TAIL_SIZE];
};

/* All but the tail, which few messages have: clearing it would cost three
 * pages of memory for the life of each watcher. */
static inline void
libspawn__watcher_message_init(struct libspawn__watcher_message *message)
{
    memset(message, 0, offsetof(struct libspawn__watcher_message, tail));
}

/* Sends a message that is complete but for version and type, with descriptors,
 * which stay the sender's.  0 or -errno: then it was lost, and the connection
 * is shut down.  A peer that would wait for what was lost sees its end, and so
 * do we: neither goes on alone. */
int libspawn__watcher_send(int socket,
                           struct libspawn__watcher_message *message,
                           enum libspawn__watcher_type type, const int *fds,
                           size_t n_fds);

/* Receives a message; descriptors as libspawn__stream_recv does.  1, 0 at the
 * end, or -errno: -EAGAIN when there is none now, -EPROTO for what is too
 * short or of another version. */
int libspawn__watcher_recv(int socket,
                           struct libspawn__watcher_message *message, int *fds,
                           size_t *n_fds_r);

#endif
