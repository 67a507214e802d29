/*
 * A client of QEMU's machine protocol: one JSON object per line.
 *
 *   GREETING --> NEGOTIATING --> READY --> CLOSED
 *
 *   GREETING     connected, or about to be; QEMU has to speak first
 *   NEGOTIATING  greeting read, qmp_capabilities sent (or sent before)
 *   READY        commands are answered; 'ready' was called
 *   CLOSED       end of file, protocol error or disposal; 'closed' was called
 *
 * QEMU is not trusted: a line over LIBSPAWN__LINE_MAX, too deep nesting,
 * an answer to nothing, or anything that is not an object closes the
 * connection with LIBSPAWN_ERR_PROTOCOL; unknown events and members are
 * passed on or ignored.  QEMU serves one client at a time: a second one
 * connects and waits without a greeting.
 *
 * Knowledge: docs/interop/qmp-spec.txt and qapi/ in the QEMU tree.
 */
#ifndef LIBSPAWN_WIRE_QMP_H
#define LIBSPAWN_WIRE_QMP_H

#include "loop/loop.h"
#include "wire/json.h"

enum {
    LIBSPAWN__QMP_QUEUE_MAX = 1024 * 1024
};

struct libspawn__qmp;

/* The answer to a command: 'result' is what "return" held (NULL on failure),
 * 'err' is NULL on success.  A command that QEMU refuses is
 * LIBSPAWN_ERR_INVALID with QEMU's own sentence, LIBSPAWN_ERR_UNSUPPORTED when
 * it does not know the command, LIBSPAWN_ERR_NOT_FOUND when it has no such
 * device.  When the connection ends, it is the error that 'closed' then gets:
 * LIBSPAWN_ERR_GONE, or LIBSPAWN_ERR_PROTOCOL.  Both borrowed for the length
 * of the call. */
typedef void libspawn__qmp_reply_fn(void *user,
                                    const struct libspawn__json *result,
                                    const struct libspawn_err *err);

struct libspawn__qmp_callbacks {
    /* Capabilities are negotiated. */
    void (*ready)(void *user);
    /* An event arrived; 'data' may be NULL.  Optional. */
    void (*event)(void *user, const char *name,
                  const struct libspawn__json *data);
    /* Once, and last, unless the client is freed before.  Commands without an
     * answer got this error as theirs. */
    void (*closed)(void *user, const struct libspawn_err *err);
    void *user;
};

/* Takes the connected (or connecting) non-blocking socket 'fd' in every
 * case. */
int libspawn__qmp_new(struct libspawn__loop *loop, int fd,
                      const struct libspawn__qmp_callbacks *callbacks,
                      struct libspawn__qmp **qmp_r, struct libspawn_err *err);

/* Closes it; no callback comes any more, not even those of commands.  May be
 * called from any callback; NULL is fine. */
void libspawn__qmp_free(struct libspawn__qmp *qmp);

/* Sends a command, queued until READY.  'arguments_json' is an object as
 * text (LIBSPAWN_ERR_INVALID when it is not), or NULL.  'fd' travels along
 * when it is not negative (for add-fd and getfd); the caller may close it
 * afterwards.  'fn' may be NULL; it is never called from here.
 * LIBSPAWN_ERR_LIMIT: the commands without an answer are more than
 * LIBSPAWN__QMP_QUEUE_MAX bytes.  LIBSPAWN_ERR_GONE: closed. */
int libspawn__qmp_command(struct libspawn__qmp *qmp, const char *command,
                          const char *arguments_json, int fd,
                          libspawn__qmp_reply_fn *fn, void *user,
                          struct libspawn_err *err);

/* For who only asks: what is queued is sent at once, and what follows too,
 * instead of when QEMU has greeted.  That saves both sides a turn.  A QEMU
 * that serves another client meanwhile may find it, and do it, when this
 * client has long left. */
void libspawn__qmp_send_ahead(struct libspawn__qmp *qmp);

/* For a program that this process becomes: its socket, borrowed, while there
 * is nothing that has come or gone by half, and no answer due; else -1. */
int libspawn__qmp_idle_fd(const struct libspawn__qmp *qmp);

/* Goes on with such a socket, which it takes in every case: READY, and
 * 'ready' does not come. */
int libspawn__qmp_resume(struct libspawn__loop *loop, int fd,
                         const struct libspawn__qmp_callbacks *callbacks,
                         struct libspawn__qmp **qmp_r,
                         struct libspawn_err *err);

/* ---- Blocking convenience ----------------------------------------------
 *
 * Connects to the socket at 'path', or by any name that libspawn__stream_open
 * takes, negotiates, runs one command after the other, all of it together
 * within 'timeout_ms' (-1: for ever).  Codes are those of
 * libspawn__stream_open and of libspawn__qmp_reply_fn, and
 * LIBSPAWN_ERR_TIMEOUT.
 */
struct libspawn__qmp_session;

int libspawn__qmp_session_open(const char *path, int timeout_ms,
                               struct libspawn__qmp_session **session_r,
                               struct libspawn_err *err);
int libspawn__qmp_session_connect(const char *name, int timeout_ms,
                                  struct libspawn__qmp_session **session_r,
                                  struct libspawn_err *err);
void libspawn__qmp_session_close(struct libspawn__qmp_session *session);

static inline void
libspawn__qmp_session_auto_close(struct libspawn__qmp_session **session)
{
    libspawn__qmp_session_close(*session);
}
#define AUTO_QMP_SESSION                                                      \
    __attribute__((cleanup(libspawn__qmp_session_auto_close)))

/* '*result_r' is freed with libspawn__json_free; 'result_r' may be NULL.  The
 * rest as for libspawn__qmp_command. */
int libspawn__qmp_session_run(struct libspawn__qmp_session *session,
                              const char *command, const char *arguments_json,
                              int fd, struct libspawn__json **result_r,
                              struct libspawn_err *err);

#endif
