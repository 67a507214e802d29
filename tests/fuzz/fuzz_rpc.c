/*
 * Both ends of the control RPC with a peer that says any bytes.  The first
 * byte chooses the end, the size of the pieces the bytes come in, and whether
 * a callback frees that end.
 */
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/auto.h"
#include "base/util.h"
#include "wire/rpc_client.h"
#include "wire/rpc_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    TO_CLIENT = 1,
    FREES = 2,
    PIECE_SHIFT = 2
};

struct scene {
    struct libspawn__loop *loop;
    struct libspawn__rpc_server *server;
    struct libspawn__rpc_client *client;
    struct libspawn__rpc_request *kept;
    bool frees;
};

static void
maybe_free(struct scene *scene)
{
    if (scene->frees) {
        libspawn__rpc_server_free(TAKE_PTR(scene->server));
        libspawn__rpc_client_free(TAKE_PTR(scene->client));
    }
}

/* ---- The server -------------------------------------------------------- */

static void
answer_kept(struct scene *scene)
{
    if (scene->kept) {
        libspawn__rpc_answer_empty(TAKE_PTR(scene->kept));
    }
}

static int
keep(void *user, struct libspawn__rpc_conn *conn,
     struct libspawn__rpc_request *request,
     const struct libspawn__json *params, struct libspawn_err *err)
{
    struct scene *scene = user;

    (void)params;
    (void)err;
    libspawn__rpc_notify(conn, "n", "{}", NULL);
    answer_kept(scene);
    scene->kept = request;
    maybe_free(scene);
    return 0;
}

static int
refuse(void *user, struct libspawn__rpc_conn *conn,
       struct libspawn__rpc_request *request,
       const struct libspawn__json *params, struct libspawn_err *err)
{
    (void)user;
    (void)request;
    libspawn__fail(err, LIBSPAWN_ERR_INVALID, "%zu",
                   libspawn__json_n_items(params));
    libspawn__rpc_complain(conn, err);
    return err->code;
}

static void
on_conn_ended(void *user, struct libspawn__rpc_conn *conn)
{
    (void)conn;
    maybe_free(user);
}

static const struct libspawn__rpc_method methods[] = {
    { "k", keep },
    { "r", refuse },
    { NULL, NULL },
};

/* A listener whose name the kernel chooses, and a connection to it. */
static int
connect_to_server(struct scene *scene)
{
    const struct libspawn__rpc_service service = { .methods = methods,
                                                   .program = "fuzz",
                                                   .ended = on_conn_ended,
                                                   .user = scene };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    socklen_t size = sizeof un;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (bind(listener, (struct sockaddr *)&un, sizeof un.sun_family) ||
        listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&un, &size) ||
        connect(peer, (struct sockaddr *)&un, size)) {
        abort();
    }
    libspawn__rpc_server_new(scene->loop, listener, &service, &scene->server,
                             NULL);
    return peer;
}

/* ---- The client -------------------------------------------------------- */

static void
on_reply(void *user, const struct libspawn__json *result,
         const struct libspawn_err *err)
{
    (void)result;
    (void)err;
    maybe_free(user);
}

static void
on_ready(void *user)
{
    struct scene *scene = user;

    libspawn__rpc_call(scene->client, "b", NULL, -1, on_reply, scene, NULL);
}

static void
on_notification(void *user, const char *method,
                const struct libspawn__json *params)
{
    (void)method;
    (void)params;
    maybe_free(user);
}

static void
on_ended(void *user, const struct libspawn_err *err)
{
    (void)err;
    maybe_free(user);
}

static int
connect_client(struct scene *scene)
{
    const struct libspawn__rpc_client_callbacks callbacks = {
        .ready = on_ready,
        .notification = on_notification,
        .ended = on_ended,
        .user = scene,
    };
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds)) {
        abort();
    }
    libspawn__rpc_client_new(scene->loop, fds[0], -1, &callbacks,
                             &scene->client, NULL);
    libspawn__rpc_call(scene->client, "a", "{}", -1, on_reply, scene, NULL);
    return fds[1];
}

/* ---- The peer ---------------------------------------------------------- */

static void
dispatch(struct scene *scene)
{
    struct pollfd pollfd = { .fd = libspawn__loop_fd(scene->loop),
                             .events = POLLIN };

    while (poll(&pollfd, 1, 0) > 0) {
        libspawn__loop_dispatch(scene->loop, NULL);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int choice = size ? data[0] : 0;
    struct scene scene = { .frees = choice & FREES };
    size_t piece = choice >> PIECE_SHIFT ? (size_t)choice >> PIECE_SHIFT
                                         : size;
    size_t done = 1;
    int peer;

    if (libspawn__loop_new(&scene.loop, NULL)) {
        return 0;
    }
    peer = choice & TO_CLIENT ? connect_client(&scene)
                              : connect_to_server(&scene);
    for (; done < size; done += piece) {
        send(peer, data + done, MIN(piece, size - done), MSG_NOSIGNAL);
        dispatch(&scene);
    }
    close(peer);
    dispatch(&scene);
    answer_kept(&scene);
    libspawn__rpc_server_free(scene.server);
    libspawn__rpc_client_free(scene.client);
    libspawn__loop_free(scene.loop);
    return 0;
}
