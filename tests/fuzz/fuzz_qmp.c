/*
 * The QMP client with a peer that says any bytes.  The first byte chooses the
 * size of the pieces they come in, and whether an event frees the client.
 */
#include <poll.h>
#include <sys/socket.h>

#include "base/auto.h"
#include "base/util.h"
#include "wire/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct scene {
    struct libspawn__loop *loop;
    struct libspawn__qmp *qmp;
    bool free_at_event;
};

static void
on_ready(void *user)
{
    struct scene *scene = user;

    libspawn__qmp_command(scene->qmp, "b", NULL, -1, NULL, NULL, NULL);
}

static void
on_event(void *user, const char *name, const struct libspawn__json *data)
{
    struct scene *scene = user;

    (void)name;
    (void)data;
    if (scene->free_at_event) {
        libspawn__qmp_free(TAKE_PTR(scene->qmp));
    }
}

static void
on_closed(void *user, const struct libspawn_err *err)
{
    (void)user;
    (void)err;
}

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
    struct scene scene = { .free_at_event = size && data[0] & 1 };
    const struct libspawn__qmp_callbacks callbacks = { on_ready, on_event,
                                                       on_closed, &scene };
    size_t piece = size && data[0] > 1 ? data[0] / 2 : size;
    size_t done = 1;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                   fds) ||
        libspawn__loop_new(&scene.loop, NULL) ||
        libspawn__qmp_new(scene.loop, fds[0], &callbacks, &scene.qmp, NULL)) {
        return 0;
    }
    libspawn__qmp_command(scene.qmp, "a", "{\"c\": 1}", fds[1], NULL, NULL,
                          NULL);
    for (; done < size; done += piece) {
        send(fds[1], data + done, MIN(piece, size - done), MSG_NOSIGNAL);
        dispatch(&scene);
    }
    close(fds[1]);
    dispatch(&scene);
    libspawn__qmp_free(scene.qmp);
    libspawn__loop_free(scene.loop);
    return 0;
}
