#include "tests/unit/rpc_scene.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/util.h"
#include "wire/stream.h"

/* ---- The log ----------------------------------------------------------- */

void
scene_note(struct scene *scene, const char *word)
{
    libspawn__buf_printf(&scene->log, "%s%s", scene->log.size ? " " : "",
                         word);
    if (scene->free_at && !strcmp(scene->free_at, word)) {
        libspawn__rpc_client_free(TAKE_PTR(scene->client));
        libspawn__rpc_server_free(TAKE_PTR(scene->server));
    }
}

void
assert_log(struct scene *scene, const char *expected)
{
    ck_assert_str_eq(scene->log.size ? scene->log.data : "", expected);
    libspawn__buf_consume(&scene->log, scene->log.size);
}

static char *
json_text(const struct libspawn__json *json)
{
    struct libspawn__json_writer *writer = libspawn__json_writer_new(false);

    libspawn__json_put(writer, NULL, json);
    return libspawn__json_writer_take(writer);
}

/* ---- The server -------------------------------------------------------- */

static int
echo(void *user, struct libspawn__rpc_conn *conn,
     struct libspawn__rpc_request *request,
     const struct libspawn__json *params, struct libspawn_err *err)
{
    struct scene *scene = user;
    AUTO_FREE char *text = params ? json_text(params) : strdup("null");

    (void)err;
    scene->conn = conn;
    libspawn__rpc_answer(request, text);
    return 0;
}

static int
keep(void *user, struct libspawn__rpc_conn *conn,
     struct libspawn__rpc_request *request,
     const struct libspawn__json *params, struct libspawn_err *err)
{
    struct scene *scene = user;

    (void)params;
    (void)err;
    scene->conn = conn;
    scene->kept[scene->n_kept++] = request;
    return 0;
}

static int
refuse(void *user, struct libspawn__rpc_conn *conn,
       struct libspawn__rpc_request *request,
       const struct libspawn__json *params, struct libspawn_err *err)
{
    (void)user;
    (void)conn;
    (void)request;
    (void)params;
    return libspawn__fail_errno(err, ENOENT, "looking for 'it'");
}

static int
large(void *user, struct libspawn__rpc_conn *conn,
      struct libspawn__rpc_request *request,
      const struct libspawn__json *params, struct libspawn_err *err)
{
    AUTO_FREE char *text = NULL;
    int64_t size;

    (void)user;
    (void)conn;
    if (!libspawn__json_integer(libspawn__json_member(params, "size"),
                                &size)) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID, "no size");
    }
    text = libspawn__str_format("\"%0*d\"", (int)size, 0);
    libspawn__rpc_answer(request, text);
    return 0;
}

static int
quit(void *user, struct libspawn__rpc_conn *conn,
     struct libspawn__rpc_request *request,
     const struct libspawn__json *params, struct libspawn_err *err)
{
    struct scene *scene = user;

    (void)conn;
    (void)params;
    (void)err;
    libspawn__rpc_server_free(TAKE_PTR(scene->server));
    libspawn__rpc_answer_empty(request);
    return 0;
}

static const struct libspawn__rpc_method methods[] = {
    { "echo", echo },   { "keep", keep }, { "refuse", refuse },
    { "large", large }, { "quit", quit }, { NULL, NULL },
};

static void
on_conn_ended(void *user, struct libspawn__rpc_conn *conn)
{
    struct scene *scene = user;

    if (conn == scene->conn) {
        scene->conn = NULL;
    }
    scene_note(scene, "conn-ended");
}

void
scene_serve(struct scene *scene, const char *name, bool from_network)
{
    const struct libspawn__rpc_service service = {
        .methods = methods,
        .program = "scene",
        .from_network = from_network,
        .ended = on_conn_ended,
        .user = scene,
    };
    struct libspawn_err err;
    int fd;

    libspawn__rpc_server_free(TAKE_PTR(scene->server));
    free(TAKE_PTR(scene->name));
    assert_ok(libspawn__stream_listen_anywhere(name, 0600, &fd, &err), &err);
    if (libspawn__stream_bound_name(fd, &scene->name, NULL)) {
        scene->name = strdup("unix:rpc");
    }
    assert_ok(libspawn__rpc_server_new(scene->loop, fd, &service,
                                       &scene->server, &err),
              &err);
}

void
scene_init(struct scene *scene)
{
    struct libspawn_err err;

    *scene = (struct scene){ 0 };
    assert_ok(libspawn__loop_new(&scene->loop, &err), &err);
    scene_serve(scene, "punix:rpc", false);
}

void
scene_answer_kept(struct scene *scene)
{
    while (scene->n_kept) {
        libspawn__rpc_answer(scene->kept[--scene->n_kept], "true");
    }
}

void
scene_dispose(struct scene *scene)
{
    libspawn__rpc_client_free(scene->client);
    libspawn__rpc_server_free(scene->server);
    scene_answer_kept(scene);
    libspawn__loop_free(scene->loop);
    free(scene->name);
    libspawn__buf_dispose(&scene->log);
}

/* ---- Time -------------------------------------------------------------- */

void
scene_settle(struct scene *scene)
{
    while (harness_wait_readable(libspawn__loop_fd(scene->loop), 0)) {
        assert_ok(libspawn__loop_dispatch(scene->loop, NULL), NULL);
    }
}

void
scene_wait_log(struct scene *scene, const char *word)
{
    int64_t deadline_ms = libspawn__clock_now_ms() + 5000;

    while (!scene->log.size || !strstr(scene->log.data, word)) {
        ck_assert_msg(libspawn__clock_now_ms() < deadline_ms,
                      "no '%s' in the log", word);
        assert_ok(libspawn__loop_wait(scene->loop, 100, NULL), NULL);
    }
}

/* ---- Clients ----------------------------------------------------------- */

static void
on_ready(void *user)
{
    scene_note(user, "ready");
}

static void
on_notification(void *user, const char *method,
                const struct libspawn__json *params)
{
    AUTO_FREE char *text = params ? json_text(params) : strdup("");
    AUTO_FREE char *word = libspawn__str_format("%s%s", method, text);

    scene_note(user, word);
}

static void
on_ended(void *user, const struct libspawn_err *err)
{
    AUTO_FREE char *word = libspawn__str_format(
        "ended:%s%s%s", libspawn_code_name(err->code),
        err->sys_errno ? ":" : "",
        err->sys_errno ? strerrorname_np(err->sys_errno) : "");

    scene_note(user, word);
}

void
scene_take(struct scene *scene, int fd, int timeout_ms)
{
    const struct libspawn__rpc_client_callbacks callbacks = {
        .ready = on_ready,
        .notification = on_notification,
        .ended = on_ended,
        .user = scene,
    };
    struct libspawn_err err;

    assert_ok(libspawn__rpc_client_new(scene->loop, fd, timeout_ms, &callbacks,
                                       &scene->client, &err),
              &err);
}

void
scene_connect(struct scene *scene, const char *name)
{
    struct libspawn_err err;
    int fd;

    assert_ok(libspawn__stream_connect(name, &fd, &err), &err);
    scene_take(scene, fd, -1);
    scene_wait_log(scene, "ready");
    assert_log(scene, "ready");
}

void
log_reply(void *user, const struct libspawn__json *result,
          const struct libspawn_err *err)
{
    AUTO_FREE char *text = result ? json_text(result) : NULL;

    ck_assert_int_eq(!result, err != NULL);
    scene_note(user, err ? libspawn_code_name(err->code) : text);
}

void
scene_call(struct scene *scene, const char *method, const char *params)
{
    struct libspawn_err err;

    assert_ok(libspawn__rpc_call(scene->client, method, params, -1, log_reply,
                                 scene, &err),
              &err);
}

/* ---- Peers ------------------------------------------------------------- */

int
peer_connect(struct scene *scene)
{
    struct libspawn_err err;
    int fd;

    assert_ok(libspawn__stream_open(scene->name, 5000, &fd, &err), &err);
    scene_settle(scene);
    return fd;
}

bool
peer_sends(struct scene *scene, int peer, const char *bytes, size_t size)
{
    while (size) {
        ssize_t n = send(peer, bytes, size, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN) {
            return false;
        }
        bytes += MAX(n, 0);
        size -= (size_t)MAX(n, 0);
        scene_settle(scene);
    }
    return true;
}

void
peer_says(struct scene *scene, int peer, const char *text)
{
    ck_assert(peer_sends(scene, peer, text, strlen(text)));
}

/* Adds what has come. */
static void
hear(int peer, struct libspawn__buf *heard)
{
    char bytes[4096];
    ssize_t n;

    for (;;) {
        n = recv(peer, bytes, sizeof bytes, 0);
        if (n <= 0) {
            break;
        }
        libspawn__buf_append(heard, bytes, (size_t)n);
    }
    libspawn__buf_puts(heard, !n || errno == ECONNRESET ? "EOF" : "");
}

void
assert_hears(int peer, const char *expected)
{
    AUTO_BUF struct libspawn__buf heard = { 0 };

    hear(peer, &heard);
    ck_assert_str_eq(heard.data, expected);
}

void
scene_wait_hears(struct scene *scene, int peer, const char *expected)
{
    int64_t deadline_ms = libspawn__clock_deadline(5000);
    AUTO_BUF struct libspawn__buf heard = { 0 };

    while (heard.size < strlen(expected) &&
           libspawn__clock_left_ms(deadline_ms)) {
        assert_ok(libspawn__loop_wait(scene->loop, 10, NULL), NULL);
        hear(peer, &heard);
    }
    ck_assert_str_eq(heard.data, expected);
}
