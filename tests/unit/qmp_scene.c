#include "tests/unit/qmp_scene.h"

#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "tests/lib/harness.h"

void
scene_note(struct scene *scene, const char *word)
{
    libspawn__buf_printf(&scene->log, "%s%s", scene->log.size ? " " : "",
                         word);
    if (scene->free_at && !strcmp(scene->free_at, word)) {
        libspawn__qmp_free(scene->qmp);
        scene->qmp = NULL;
    }
}

static void
on_ready(void *user)
{
    scene_note(user, "ready");
}

static void
on_event(void *user, const char *name, const struct libspawn__json *data)
{
    AUTO_FREE char *word = libspawn__str_format(
        "%s%s", name, libspawn__json_member(data, "x") ? "(x)" : "");

    scene_note(user, word);
}

static void
on_closed(void *user, const struct libspawn_err *err)
{
    AUTO_FREE char *word =
        libspawn__str_format("closed:%s", libspawn_code_name(err->code));

    scene_note(user, word);
}

void
log_reply(void *user, const struct libspawn__json *result,
          const struct libspawn_err *err)
{
    AUTO_FREE char *word = NULL;
    int64_t value = 0;

    ck_assert_int_eq(!result, err != NULL);
    libspawn__json_integer(result, &value);
    word = err ? libspawn__str_format("%s", libspawn_code_name(err->code))
               : libspawn__str_format("%d", (int)value);
    scene_note(user, word);
}

void
scene_dispose(struct scene *scene)
{
    libspawn__qmp_free(scene->qmp);
    libspawn__loop_free(scene->loop);
    libspawn__auto_close(&scene->peer);
    libspawn__buf_dispose(&scene->log);
}

int
scene_init_with(struct scene *scene, int fd, struct libspawn_err *err)
{
    const struct libspawn__qmp_callbacks callbacks = { on_ready, on_event,
                                                       on_closed, scene };

    *scene = (struct scene){ .peer = -1 };
    libspawn__buf_puts(&scene->log, "");
    assert_ok(libspawn__loop_new(&scene->loop, err), err);
    return libspawn__qmp_new(scene->loop, fd, &callbacks, &scene->qmp, err);
}

void
scene_init(struct scene *scene)
{
    struct libspawn_err err;
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX,
                                SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                                fds),
                     0);
    assert_ok(scene_init_with(scene, fds[0], &err), &err);
    scene->peer = fds[1];
}

void
scene_settle(struct scene *scene)
{
    while (harness_wait_readable(libspawn__loop_fd(scene->loop), 0)) {
        assert_ok(libspawn__loop_dispatch(scene->loop, NULL), NULL);
    }
}

void
peer_says(struct scene *scene, const char *text)
{
    size_t size = strlen(text);

    ck_assert_int_eq(send(scene->peer, text, size, MSG_NOSIGNAL),
                     (ssize_t)size);
    scene_settle(scene);
}

void
peer_leaves(struct scene *scene)
{
    libspawn__auto_close(&scene->peer);
    scene->peer = -1;
    scene_settle(scene);
}

void
assert_said(struct scene *scene, const char *expected)
{
    char text[4096];
    ssize_t n = recv(scene->peer, text, sizeof text - 1, 0);

    text[MAX(n, 0)] = '\0';
    ck_assert_str_eq(text, expected);
}

void
scene_init_ready(struct scene *scene)
{
    scene_init(scene);
    scene_settle(scene);
    peer_says(scene, GREETING);
    assert_said(scene, "{\"execute\":\"qmp_capabilities\",\"id\":0}\n");
    peer_says(scene, NEGOTIATED);
    ck_assert_str_eq(scene->log.data, "ready");
    libspawn__buf_consume(&scene->log, scene->log.size);
}

void
scene_command(struct scene *scene, const char *name)
{
    struct libspawn_err err;

    assert_ok(libspawn__qmp_command(scene->qmp, name, NULL, -1, log_reply,
                                    scene, &err),
              &err);
}
