/*
 * Order of things: on_io sends and receives; handle_line finds out what a
 * line is and hands it to handle_greeting, handle_event or handle_answer.
 *
 * A callback may free the client.  libspawn__qmp_free then empties it but
 * leaves the structure, marked 'freed', to on_io, where every callback comes
 * from.  So whoever made one looks at 'freed' before it goes on.
 */
#include "wire/qmp.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/auto.h"
#include "base/list.h"
#include "base/str.h"
#include "base/util.h"
#include "wire/lines.h"
#include "wire/stream.h"

enum {
    NEGOTIATION_ID = 0, /* of qmp_capabilities; all others are larger */
    LINES_PER_MESSAGE = 8
};

enum state {
    GREETING,
    NEGOTIATING,
    READY,
    CLOSED
};

struct command {
    struct libspawn__list link; /* in queued or unanswered */
    int64_t id;
    char *name;
    char *line;
    size_t size; /* of the line */
    size_t sent;
    int fd; /* goes along with the first byte; -1: none, or sent */
    libspawn__qmp_reply_fn *fn;
    void *user;
};

struct libspawn__qmp {
    struct libspawn__io io;
    int fd;
    enum state state;
    struct libspawn__qmp_callbacks callbacks;
    bool dispatching; /* on_io is at work */
    bool freed;       /* and shall release the structure in the end */
    bool send_failed; /* only what QEMU said last is still to be read */
    bool sends_ahead; /* of the greeting */

    struct libspawn__lines lines;

    int64_t last_id;
    struct libspawn__list queued;     /* to be sent; the first one in part */
    struct libspawn__list unanswered; /* sent */
    size_t outstanding;               /* bytes of the lines of both */
};

static void
set_state(struct libspawn__qmp *qmp, enum state state)
{
    assert(state > qmp->state);
    qmp->state = state;
}

/* ---- Commands ---------------------------------------------------------- */

static void
command_free(struct command *command)
{
    if (command) {
        libspawn__auto_close(&command->fd);
        free(command->name);
        free(command->line);
        free(command);
    }
}

static void
command_auto_free(struct command **command)
{
    command_free(*command);
}
#define AUTO_COMMAND AUTO(command_auto_free)

static int
parse_arguments(const char *text, struct libspawn__json **arguments_r,
                struct libspawn_err *err)
{
    AUTO_JSON struct libspawn__json *arguments = NULL;
    int rc =
        libspawn__json_parse(text, strlen(text), SIZE_MAX, &arguments, err);

    /* The text is the caller's own: its fault, not that of a peer. */
    if (rc == LIBSPAWN_ERR_PROTOCOL ||
        (!rc && libspawn__json_get_type(arguments) != LIBSPAWN__JSON_OBJECT)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'%.80s' is not a JSON object", text);
    }
    if (!rc) {
        *arguments_r = TAKE_PTR(arguments);
    }
    return rc;
}

static char *
format_line(const char *name, const struct libspawn__json *arguments,
            int64_t id)
{
    struct libspawn__json_writer *writer = libspawn__json_writer_new(false);
    AUTO_FREE char *text = NULL;

    libspawn__json_begin_object(writer, NULL);
    libspawn__json_put_string(writer, "execute", name);
    if (arguments) {
        libspawn__json_put(writer, "arguments", arguments);
    }
    libspawn__json_put_integer(writer, "id", id);
    libspawn__json_end_object(writer);
    text = libspawn__json_writer_take(writer);
    return text ? libspawn__str_format("%s\n", text) : NULL;
}

static int
command_new(const char *name, const char *arguments_json, int fd, int64_t id,
            struct command **command_r, struct libspawn_err *err)
{
    AUTO_COMMAND struct command *command = calloc(1, sizeof *command);
    AUTO_JSON struct libspawn__json *arguments = NULL;
    int rc;

    if (!command) {
        return libspawn__fail_nomem(err);
    }
    command->fd = -1;
    command->id = id;
    libspawn__list_init(&command->link);
    if (arguments_json) {
        rc = parse_arguments(arguments_json, &arguments, err);
        if (rc) {
            return rc;
        }
    }
    command->name = strdup(name);
    command->line = format_line(name, arguments, id);
    if (!command->name || !command->line) {
        return libspawn__fail_nomem(err);
    }
    command->size = strlen(command->line);
    if (fd >= 0) {
        command->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (command->fd < 0) {
            return libspawn__fail_errno(err, errno, "descriptor %d", fd);
        }
    }
    *command_r = TAKE_PTR(command);
    return 0;
}

static struct command *
first_command(const struct libspawn__list *list)
{
    return libspawn__list_is_empty(list)
               ? NULL
               : CONTAINER_OF(list->next, struct command, link);
}

static void
queue_command(struct libspawn__qmp *qmp, struct command *command)
{
    libspawn__list_append(&qmp->queued, &command->link);
    qmp->outstanding += command->size;
}

static void
unlink_command(struct libspawn__qmp *qmp, struct command *command)
{
    libspawn__list_remove(&command->link);
    qmp->outstanding -= command->size;
}

/* The one to send now, or NULL.  The negotiation is the first of all; the
 * others need not wait for its answer, as QEMU takes one after the other. */
static struct command *
next_to_send(const struct libspawn__qmp *qmp)
{
    bool may_send = qmp->state == NEGOTIATING || qmp->state == READY ||
                    (qmp->state == GREETING && qmp->sends_ahead);

    return may_send && !qmp->send_failed ? first_command(&qmp->queued) : NULL;
}

static void
update_events(struct libspawn__qmp *qmp)
{
    libspawn__io_modify(&qmp->io,
                        next_to_send(qmp) ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

int
libspawn__qmp_command(struct libspawn__qmp *qmp, const char *command,
                      const char *arguments_json, int fd,
                      libspawn__qmp_reply_fn *fn, void *user,
                      struct libspawn_err *err)
{
    AUTO_COMMAND struct command *new = NULL;
    int rc;

    if (qmp->state == CLOSED || qmp->freed) {
        return libspawn__fail(err, LIBSPAWN_ERR_GONE,
                              "the connection to QEMU is closed");
    }
    rc = command_new(command, arguments_json, fd, qmp->last_id + 1, &new, err);
    if (rc) {
        libspawn__err_prefix(err, "sending '%s' to QEMU", command);
        return rc;
    }
    if (new->size > LIBSPAWN__QMP_QUEUE_MAX - qmp->outstanding) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "sending '%s' to QEMU: more than %d bytes wait "
                              "for its answers",
                              command, LIBSPAWN__QMP_QUEUE_MAX);
    }
    new->fn = fn;
    new->user = user;
    qmp->last_id = new->id;
    queue_command(qmp, TAKE_PTR(new));
    update_events(qmp);
    return 0;
}

/* What goes in one message.  A descriptor travels with the first byte, so a
 * command that has one begins a message. */
static size_t
gather_lines(const struct libspawn__qmp *qmp,
             struct iovec lines[LINES_PER_MESSAGE])
{
    struct libspawn__list *link;
    size_t n = 0;

    LIST_FOR_EACH (link, &qmp->queued) {
        struct command *command = CONTAINER_OF(link, struct command, link);

        if (n == LINES_PER_MESSAGE || (n && command->fd >= 0)) {
            break;
        }
        lines[n++] =
            (struct iovec){ .iov_base = command->line + command->sent,
                            .iov_len = command->size - command->sent };
    }
    return n;
}

static void
count_sent(struct libspawn__qmp *qmp, size_t n_bytes)
{
    struct command *command;

    while (n_bytes && (command = first_command(&qmp->queued))) {
        size_t n = MIN(n_bytes, command->size - command->sent);

        libspawn__auto_close(&command->fd);
        command->fd = -1;
        command->sent += n;
        n_bytes -= n;
        if (command->sent == command->size) {
            libspawn__list_remove(&command->link);
            libspawn__list_append(&qmp->unanswered, &command->link);
        }
    }
}

static int
send_commands(struct libspawn__qmp *qmp, struct libspawn_err *err)
{
    struct command *command;

    while ((command = next_to_send(qmp))) {
        struct iovec lines[LINES_PER_MESSAGE];
        size_t n_lines = gather_lines(qmp, lines);
        ssize_t n = libspawn__stream_send_parts(
            qmp->fd, lines, n_lines, &command->fd, command->fd >= 0);

        if (n == -EAGAIN) {
            return 0;
        }
        if (n == -EPIPE || n == -ECONNRESET) {
            /* It may have said why before it left. */
            qmp->send_failed = true;
            return 0;
        }
        if (n < 0) {
            return libspawn__fail_errno(err, (int)-n, "sending '%s' to QEMU",
                                        command->name);
        }
        count_sent(qmp, (size_t)n);
    }
    return 0;
}

/* What cannot be sent now is tried again, and an error told, from on_io. */
void
libspawn__qmp_send_ahead(struct libspawn__qmp *qmp)
{
    qmp->sends_ahead = true;
    send_commands(qmp, NULL);
    update_events(qmp);
}

/* ---- Messages from QEMU ------------------------------------------------ */

static void
reply(struct libspawn__qmp *qmp, struct command *command,
      const struct libspawn__json *result, const struct libspawn_err *err)
{
    unlink_command(qmp, command);
    if (command->fn) {
        command->fn(command->user, result, err);
    }
    command_free(command);
}

static int
handle_greeting(struct libspawn__qmp *qmp,
                const struct libspawn__json *message, struct libspawn_err *err)
{
    if (!libspawn__json_member(message, "QMP")) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "QEMU's first message is not a greeting");
    }
    set_state(qmp, NEGOTIATING);
    return 0;
}

static int
handle_event(struct libspawn__qmp *qmp, const struct libspawn__json *message,
             struct libspawn_err *err)
{
    const char *name =
        libspawn__json_string(libspawn__json_member(message, "event"));

    if (!name) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "QEMU sent an event without a name");
    }
    if (qmp->callbacks.event) {
        qmp->callbacks.event(qmp->callbacks.user, name,
                             libspawn__json_member(message, "data"));
    }
    return 0;
}

/* Fills 'refusal_r' from what stands under "error". */
static int
parse_refusal(const struct command *command,
              const struct libspawn__json *error,
              struct libspawn_err *refusal_r, struct libspawn_err *err)
{
    static const struct {
        const char *class;
        int code;
    } codes[] = {
        { "CommandNotFound", LIBSPAWN_ERR_UNSUPPORTED },
        { "DeviceNotFound", LIBSPAWN_ERR_NOT_FOUND },
    };
    const char *class =
        libspawn__json_string(libspawn__json_member(error, "class"));
    const char *desc =
        libspawn__json_string(libspawn__json_member(error, "desc"));
    int code = LIBSPAWN_ERR_INVALID;
    size_t i;

    if (!class || !desc) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "QEMU refused '%s' without a reason",
                              command->name);
    }
    for (i = 0; i < ARRAY_SIZE(codes); i++) {
        if (!strcmp(class, codes[i].class)) {
            code = codes[i].code;
        }
    }
    libspawn__fail(refusal_r, code, "QEMU refused '%s': %s", command->name,
                   desc);
    return 0;
}

static struct command *
find_unanswered(const struct libspawn__qmp *qmp,
                const struct libspawn__json *message)
{
    struct libspawn__list *link;
    int64_t id;

    if (!libspawn__json_integer(libspawn__json_member(message, "id"), &id)) {
        return NULL;
    }
    LIST_FOR_EACH (link, &qmp->unanswered) {
        struct command *command = CONTAINER_OF(link, struct command, link);

        if (command->id == id) {
            return command;
        }
    }
    return NULL;
}

static int
handle_negotiated(struct libspawn__qmp *qmp, struct command *command,
                  const struct libspawn_err *refusal, struct libspawn_err *err)
{
    reply(qmp, command, NULL, refusal);
    if (refusal) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL, "%s", refusal->text);
    }
    set_state(qmp, READY);
    qmp->callbacks.ready(qmp->callbacks.user);
    return 0;
}

static int
handle_answer(struct libspawn__qmp *qmp, const struct libspawn__json *message,
              struct libspawn_err *err)
{
    const struct libspawn__json *result =
        libspawn__json_member(message, "return");
    const struct libspawn__json *error =
        libspawn__json_member(message, "error");
    struct command *command = find_unanswered(qmp, message);
    struct libspawn_err refusal;
    int rc;

    if (!command) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "QEMU answered what nobody had asked");
    }
    if (!result == !error) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "QEMU's answer to '%s' is neither success nor "
                              "failure",
                              command->name);
    }
    if (error) {
        rc = parse_refusal(command, error, &refusal, err);
        if (rc) {
            return rc;
        }
    }
    if (qmp->state == NEGOTIATING && command->id != NEGOTIATION_ID) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "QEMU answered '%s' before the negotiation",
                              command->name);
    }
    if (command->id == NEGOTIATION_ID) {
        return handle_negotiated(qmp, command, error ? &refusal : NULL, err);
    }
    reply(qmp, command, result, error ? &refusal : NULL);
    return 0;
}

static int
handle_line(struct libspawn__qmp *qmp, const char *line, size_t size,
            struct libspawn_err *err)
{
    AUTO_JSON struct libspawn__json *message = NULL;
    int rc;

    if (!size || (size == 1 && line[0] == '\r')) {
        return 0;
    }
    rc = libspawn__json_parse(line, size, size, &message, err);
    if (rc) {
        return libspawn__err_prefix(err, "a message from QEMU");
    }
    if (libspawn__json_get_type(message) != LIBSPAWN__JSON_OBJECT) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "a message from QEMU is not an object");
    }
    if (qmp->state == GREETING) {
        return handle_greeting(qmp, message, err);
    }
    return libspawn__json_member(message, "event")
               ? handle_event(qmp, message, err)
               : handle_answer(qmp, message, err);
}

static int
receive(struct libspawn__qmp *qmp, struct libspawn_err *err)
{
    const char *line;
    size_t size;
    int rc = libspawn__lines_receive(&qmp->lines, qmp->fd, err);

    while (!rc && !qmp->freed) {
        rc = libspawn__lines_next(&qmp->lines, &line, &size, err);
        if (rc || !line) {
            break;
        }
        rc = handle_line(qmp, line, size, err);
    }
    return rc;
}

/* ---- The connection ---------------------------------------------------- */

static void
disconnect(struct libspawn__qmp *qmp)
{
    libspawn__io_remove(&qmp->io);
    libspawn__auto_close(&qmp->fd);
    qmp->fd = -1;
}

static void
fail_all(struct libspawn__qmp *qmp, struct libspawn__list *list,
         const struct libspawn_err *err)
{
    while (!qmp->freed && !libspawn__list_is_empty(list)) {
        reply(qmp, first_command(list), NULL, err);
    }
}

static void
shut_down(struct libspawn__qmp *qmp, const struct libspawn_err *err)
{
    set_state(qmp, CLOSED);
    disconnect(qmp);
    fail_all(qmp, &qmp->unanswered, err);
    fail_all(qmp, &qmp->queued, err);
    if (!qmp->freed) {
        qmp->callbacks.closed(qmp->callbacks.user, err);
    }
}

/* QEMU speaks first, so the greeting tells that the connection is made.  Why
 * there is none recv(2) does not tell as well. */
static int
check_connection(const struct libspawn__qmp *qmp, struct libspawn_err *err)
{
    int rc = libspawn__stream_finish_connect(qmp->fd, err);

    return rc && rc != LIBSPAWN_ERR_BUSY ? libspawn__err_prefix(err, "QEMU")
                                         : 0;
}

static void
on_io(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__qmp *qmp = CONTAINER_OF(io, struct libspawn__qmp, io);
    struct libspawn_err err;
    int rc = 0;

    qmp->dispatching = true;
    if (qmp->state == GREETING && events & (EPOLLERR | EPOLLHUP)) {
        rc = check_connection(qmp, &err);
    }
    if (!rc) {
        rc = receive(qmp, &err);
    }
    if (!rc && !qmp->freed) {
        rc = send_commands(qmp, &err);
    }
    if (rc && !qmp->freed) {
        shut_down(qmp, &err);
    }
    qmp->dispatching = false;
    if (qmp->freed) {
        free(qmp);
    } else {
        update_events(qmp);
    }
}

/* Takes 'fd' in every case. */
static struct libspawn__qmp *
new_qmp(int fd, const struct libspawn__qmp_callbacks *callbacks,
        struct libspawn_err *err)
{
    struct libspawn__qmp *qmp = calloc(1, sizeof *qmp);

    if (!qmp) {
        libspawn__auto_close(&fd);
        libspawn__fail_nomem(err);
        return NULL;
    }
    qmp->fd = fd;
    qmp->lines.peer = "QEMU";
    qmp->callbacks = *callbacks;
    qmp->last_id = NEGOTIATION_ID;
    libspawn__list_init(&qmp->queued);
    libspawn__list_init(&qmp->unanswered);
    return qmp;
}

int
libspawn__qmp_new(struct libspawn__loop *loop, int fd,
                  const struct libspawn__qmp_callbacks *callbacks,
                  struct libspawn__qmp **qmp_r, struct libspawn_err *err)
{
    struct libspawn__qmp *qmp = new_qmp(fd, callbacks, err);
    struct command *negotiation;
    int rc;

    if (!qmp) {
        return LIBSPAWN_ERR_NO_MEMORY;
    }
    rc = command_new("qmp_capabilities", NULL, -1, NEGOTIATION_ID,
                     &negotiation, err);
    if (!rc) {
        queue_command(qmp, negotiation);
        rc = libspawn__io_add(loop, &qmp->io, fd, EPOLLIN, on_io, err);
    }
    if (rc) {
        libspawn__qmp_free(qmp);
        return rc;
    }
    *qmp_r = qmp;
    return 0;
}

int
libspawn__qmp_idle_fd(const struct libspawn__qmp *qmp)
{
    return qmp->state == READY && !qmp->lines.input.size &&
                   libspawn__list_is_empty(&qmp->queued) &&
                   libspawn__list_is_empty(&qmp->unanswered)
               ? qmp->fd
               : -1;
}

int
libspawn__qmp_resume(struct libspawn__loop *loop, int fd,
                     const struct libspawn__qmp_callbacks *callbacks,
                     struct libspawn__qmp **qmp_r, struct libspawn_err *err)
{
    struct libspawn__qmp *qmp = new_qmp(fd, callbacks, err);
    int rc;

    if (!qmp) {
        return LIBSPAWN_ERR_NO_MEMORY;
    }
    qmp->state = READY;
    rc = libspawn__io_add(loop, &qmp->io, fd, EPOLLIN, on_io, err);
    if (rc) {
        libspawn__qmp_free(qmp);
        return rc;
    }
    *qmp_r = qmp;
    return 0;
}

static void
free_commands(struct libspawn__list *list)
{
    while (!libspawn__list_is_empty(list)) {
        struct command *command = first_command(list);

        libspawn__list_remove(&command->link);
        command_free(command);
    }
}

void
libspawn__qmp_free(struct libspawn__qmp *qmp)
{
    if (!qmp) {
        return;
    }
    disconnect(qmp);
    free_commands(&qmp->queued);
    free_commands(&qmp->unanswered);
    libspawn__lines_dispose(&qmp->lines);
    if (qmp->dispatching) {
        qmp->freed = true;
    } else {
        free(qmp);
    }
}
