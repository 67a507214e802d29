/*
 * Order of things: on_listener accepts and admits; on_message makes a request
 * of a message and calls its handler; an answer goes out through the link.
 *
 * A request outlives its connection, without a way to answer: who has to
 * answer it does not care.
 */
#include "wire/rpc_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/util.h"
#include "wire/rpc_link.h"
#include "wire/stream.h"

enum {
    ID_MAX = 128,         /* bytes of an id as JSON text */
    ACCEPTS_MAX = 16,     /* connections per turn of the loop */
    ACCEPT_PAUSE_MS = 200 /* when there are no descriptors left */
};

struct libspawn__rpc_server {
    struct libspawn__loop *loop;
    struct libspawn__rpc_service service;
    int listener;
    struct libspawn__io io;
    struct libspawn__timer resume;
    uid_t owner;
    struct libspawn__list conns;
    size_t n_conns;
};

struct libspawn__rpc_conn {
    struct libspawn__list link; /* in the server's list */
    struct libspawn__rpc_server *server;
    struct libspawn__rpc_link *wire;
    pid_t pid;
    uid_t uid;
    struct libspawn__list requests; /* to be answered */
    size_t n_requests;
};

struct libspawn__rpc_request {
    struct libspawn__list link;      /* in the connection's list */
    struct libspawn__rpc_conn *conn; /* NULL: has ended */
    char *id;                        /* NULL: a notification */
};

/* ---- Answers ----------------------------------------------------------- */

static void
request_detach(struct libspawn__rpc_request *request)
{
    if (request->conn) {
        libspawn__list_remove(&request->link);
        request->conn->n_requests--;
        request->conn = NULL;
    }
}

static void
request_free(struct libspawn__rpc_request *request)
{
    request_detach(request);
    free(request->id);
    free(request);
}

static bool
is_awaited(const struct libspawn__rpc_request *request)
{
    return request->conn && request->id;
}

void
libspawn__rpc_refuse(struct libspawn__rpc_request *request,
                     const struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf line = { 0 };
    struct libspawn_err failure;

    if (is_awaited(request)) {
        libspawn__rpc_put_error(&line, request->id, err);
        if (libspawn__rpc_link_send(request->conn->wire, &line, &failure) ==
            LIBSPAWN_ERR_NO_MEMORY) {
            /* Better no connection than one that waits for this. */
            libspawn__rpc_link_end(request->conn->wire, &failure);
        }
    }
    request_free(request);
}

void
libspawn__rpc_answer(struct libspawn__rpc_request *request,
                     const char *result_json)
{
    AUTO_BUF struct libspawn__buf line = { 0 };
    struct libspawn_err err;
    int rc = 0;

    if (is_awaited(request)) {
        if (result_json) {
            libspawn__rpc_put_result(&line, request->id, result_json);
        } else {
            line.failed = true;
        }
        rc = libspawn__rpc_link_send(request->conn->wire, &line, &err);
    }
    if (rc) {
        libspawn__rpc_refuse(request, &err);
    } else {
        request_free(request);
    }
}

void
libspawn__rpc_answer_empty(struct libspawn__rpc_request *request)
{
    libspawn__rpc_answer(request, "{}");
}

int
libspawn__rpc_notify(struct libspawn__rpc_conn *conn, const char *method,
                     const char *params_json, struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf line = { 0 };

    libspawn__rpc_put_call(&line, NULL, method, params_json);
    return libspawn__rpc_link_send(conn->wire, &line, err);
}

void
libspawn__rpc_complain(struct libspawn__rpc_conn *conn,
                       const struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf line = { 0 };

    libspawn__rpc_put_error(&line, NULL, err);
    libspawn__rpc_link_send(conn->wire, &line, NULL);
}

size_t
libspawn__rpc_conn_waiting(const struct libspawn__rpc_conn *conn)
{
    return libspawn__rpc_link_waiting(conn->wire);
}

pid_t
libspawn__rpc_conn_pid(const struct libspawn__rpc_conn *conn)
{
    return conn->pid;
}

uid_t
libspawn__rpc_conn_uid(const struct libspawn__rpc_conn *conn)
{
    return conn->uid;
}

/* ---- Requests ---------------------------------------------------------- */

/* Nothing is remembered of it: a client of another version sees it in the
 * answer, and one that is too new for us asks only for what is in ours. */
static int
say_hello(void *user, struct libspawn__rpc_conn *conn,
          struct libspawn__rpc_request *request,
          const struct libspawn__json *params, struct libspawn_err *err)
{
    struct libspawn__json_writer *writer;
    AUTO_FREE char *text = NULL;
    int64_t version;

    (void)user;
    if (!libspawn__json_integer(libspawn__json_member(params, "protocol"),
                                &version) ||
        version < 1) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "'hello' needs the number of a protocol");
    }
    writer = libspawn__json_writer_new(false);
    libspawn__json_begin_object(writer, NULL);
    libspawn__json_put_integer(writer, "protocol",
                               MIN(version, LIBSPAWN__RPC_PROTOCOL));
    libspawn__json_put_string(writer, "program",
                              conn->server->service.program);
    libspawn__json_put_string(writer, "version", LIBSPAWN_VERSION);
    libspawn__json_put_integer(writer, "pid", getpid());
    libspawn__json_end_object(writer);
    text = libspawn__json_writer_take(writer);
    libspawn__rpc_answer(request, text);
    return 0;
}

static libspawn__rpc_handler_fn *
find_handler(const struct libspawn__rpc_server *server, const char *name)
{
    const struct libspawn__rpc_method *method;

    for (method = server->service.methods; method->name; method++) {
        if (!strcmp(method->name, name)) {
            return method->fn;
        }
    }
    return strcmp(name, "hello") ? NULL : say_hello;
}

/* Stores the id as JSON text, if there is one. */
static int
read_id(const struct libspawn__json *id, char **id_r, struct libspawn_err *err)
{
    enum libspawn__json_type type = libspawn__json_get_type(id);
    AUTO_FREE char *text = NULL;

    if (!id) {
        return 0;
    }
    if (type != LIBSPAWN__JSON_INTEGER && type != LIBSPAWN__JSON_STRING) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the id of a request is no integer and no "
                              "string");
    }
    text = libspawn__json_to_text(id);
    if (!text) {
        return libspawn__fail_nomem(err);
    }
    if (strlen(text) > ID_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the id of a request is longer than %d bytes",
                              ID_MAX);
    }
    *id_r = TAKE_PTR(text);
    return 0;
}

/* Takes 'id' in every case; NULL: no memory. */
static struct libspawn__rpc_request *
request_new(struct libspawn__rpc_conn *conn, char *id)
{
    struct libspawn__rpc_request *request = calloc(1, sizeof *request);

    if (!request) {
        free(id);
        return NULL;
    }
    request->id = id;
    request->conn = conn;
    libspawn__list_append(&conn->requests, &request->link);
    conn->n_requests++;
    return request;
}

/* The connection, and even the server, may be gone afterwards. */
static int
run_handler(struct libspawn__rpc_conn *conn, const char *method,
            const struct libspawn__json *params,
            struct libspawn__rpc_request *request, struct libspawn_err *err)
{
    libspawn__rpc_handler_fn *fn = find_handler(conn->server, method);

    if (!fn) {
        return libspawn__fail(err, LIBSPAWN_ERR_UNSUPPORTED,
                              "there is no method '%.80s'", method);
    }
    if (params && libspawn__json_get_type(params) != LIBSPAWN__JSON_OBJECT) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the params of '%s' are not an object", method);
    }
    if (conn->n_requests > LIBSPAWN__RPC_CALLS_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "more than %d calls without answer",
                              LIBSPAWN__RPC_CALLS_MAX);
    }
    return fn(conn->server->service.user, conn, request, params, err);
}

static int
on_message(void *user, const struct libspawn__json *message,
           struct libspawn_err *err)
{
    struct libspawn__rpc_conn *conn = user;
    const char *method =
        libspawn__json_string(libspawn__json_member(message, "method"));
    struct libspawn__rpc_request *request;
    struct libspawn_err refusal;
    AUTO_FREE char *id = NULL;
    int rc = libspawn__rpc_check(message, err);

    if (!rc && !method) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                            "a request has no method");
    }
    if (!rc) {
        rc = read_id(libspawn__json_member(message, "id"), &id, err);
    }
    if (rc) {
        return rc;
    }
    request = request_new(conn, TAKE_PTR(id));
    if (!request) {
        return libspawn__fail_nomem(err);
    }
    if (run_handler(conn, method, libspawn__json_member(message, "params"),
                    request, &refusal)) {
        libspawn__rpc_refuse(request, &refusal);
    }
    return 0;
}

/* ---- Connections ------------------------------------------------------- */

static void
conn_free(struct libspawn__rpc_conn *conn)
{
    while (!libspawn__list_is_empty(&conn->requests)) {
        request_detach(CONTAINER_OF(conn->requests.next,
                                    struct libspawn__rpc_request, link));
    }
    libspawn__rpc_link_free(conn->wire);
    free(conn);
}

static void
conn_unlink(struct libspawn__rpc_conn *conn)
{
    libspawn__list_remove(&conn->link);
    conn->server->n_conns--;
}

static void
on_ended(void *user, const struct libspawn_err *err)
{
    struct libspawn__rpc_conn *conn = user;
    const struct libspawn__rpc_service *service = &conn->server->service;

    /* Why it ends, if it cares to read it. */
    if (err->code != LIBSPAWN_ERR_GONE) {
        libspawn__rpc_complain(conn, err);
    }
    conn_unlink(conn);
    if (service->ended) {
        service->ended(service->user, conn);
    }
    conn_free(conn);
}

/* ---- Admission --------------------------------------------------------- */

static int
check_peer(const struct libspawn__rpc_server *server, int fd, pid_t *pid_r,
           uid_t *uid_r, struct libspawn_err *err)
{
    int rc;

    if (server->n_conns >= LIBSPAWN__RPC_CLIENTS_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_LIMIT,
                              "there are %d clients already",
                              LIBSPAWN__RPC_CLIENTS_MAX);
    }
    if (server->service.from_network) {
        *pid_r = 0;
        *uid_r = (uid_t)-1;
        return 0;
    }
    rc = libspawn__stream_peer(fd, pid_r, uid_r, err);
    if (!rc && *uid_r != 0 && *uid_r != server->owner) {
        rc = libspawn__fail(err, LIBSPAWN_ERR_DENIED,
                            "user %u has no right to connect here",
                            (unsigned int)*uid_r);
    }
    return rc;
}

/* Takes 'fd'. */
static void
admit(struct libspawn__rpc_server *server, int fd)
{
    struct libspawn__rpc_conn *conn = calloc(1, sizeof *conn);
    const struct libspawn__rpc_link_callbacks callbacks = {
        .message = on_message, .ended = on_ended, .user = conn
    };
    struct libspawn_err err;
    int refusal;

    if (!conn) {
        libspawn__auto_close(&fd);
        return;
    }
    conn->server = server;
    libspawn__list_init(&conn->requests);
    refusal = check_peer(server, fd, &conn->pid, &conn->uid, &err);
    if (libspawn__rpc_link_new(server->loop, fd, &callbacks, &conn->wire,
                               NULL)) {
        free(conn);
        return;
    }
    if (refusal) {
        libspawn__rpc_complain(conn, &err);
        conn_free(conn);
        return;
    }
    libspawn__list_append(&server->conns, &conn->link);
    server->n_conns++;
}

/* Without descriptors the listener would be readable all the time. */
static void
pause_accepting(struct libspawn__rpc_server *server)
{
    libspawn__io_modify(&server->io, 0);
    libspawn__timer_set(&server->resume,
                        libspawn__clock_now_ms() + ACCEPT_PAUSE_MS);
}

static void
on_resume(struct libspawn__timer *timer)
{
    struct libspawn__rpc_server *server =
        CONTAINER_OF(timer, struct libspawn__rpc_server, resume);

    libspawn__io_modify(&server->io, EPOLLIN);
}

static void
on_listener(struct libspawn__io *io, uint32_t events)
{
    struct libspawn__rpc_server *server =
        CONTAINER_OF(io, struct libspawn__rpc_server, io);
    int i;

    (void)events;
    for (i = 0; i < ACCEPTS_MAX; i++) {
        int fd;
        int rc = libspawn__stream_accept(server->listener, &fd, NULL);

        if (rc == LIBSPAWN_ERR_BUSY) {
            return;
        }
        if (rc) {
            pause_accepting(server);
            return;
        }
        admit(server, fd);
    }
}

int
libspawn__rpc_server_new(struct libspawn__loop *loop, int listener,
                         const struct libspawn__rpc_service *service,
                         struct libspawn__rpc_server **server_r,
                         struct libspawn_err *err)
{
    struct libspawn__rpc_server *server = calloc(1, sizeof *server);
    int rc;

    if (!server) {
        libspawn__auto_close(&listener);
        return libspawn__fail_nomem(err);
    }
    server->loop = loop;
    server->service = *service;
    server->listener = listener;
    server->owner = geteuid();
    libspawn__list_init(&server->conns);
    libspawn__timer_init(loop, &server->resume, on_resume);
    rc = libspawn__io_add(loop, &server->io, listener, EPOLLIN, on_listener,
                          err);
    if (rc) {
        libspawn__rpc_server_free(server);
        return rc;
    }
    *server_r = server;
    return 0;
}

void
libspawn__rpc_server_free(struct libspawn__rpc_server *server)
{
    if (!server) {
        return;
    }
    while (!libspawn__list_is_empty(&server->conns)) {
        struct libspawn__rpc_conn *conn =
            CONTAINER_OF(server->conns.next, struct libspawn__rpc_conn, link);

        conn_unlink(conn);
        conn_free(conn);
    }
    libspawn__timer_cancel(&server->resume);
    libspawn__io_remove(&server->io);
    libspawn__auto_close(&server->listener);
    free(server);
}

int
libspawn__rpc_server_listener(const struct libspawn__rpc_server *server)
{
    return server->listener;
}

size_t
libspawn__rpc_server_n_clients(const struct libspawn__rpc_server *server)
{
    return server->n_conns;
}
