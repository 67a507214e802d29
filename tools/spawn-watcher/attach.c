/*
 * Those who come later: any process of our user, or root, that knows the
 * secret of the record may attach to a child that was released.  All who are
 * attached hear of its end, and may stop it; none of them owns it.
 *
 * Trust: the name on which we listen can be seen and used by everybody on the
 * host, so a peer is nobody until the kernel says that it is our user or root,
 * and until it has shown that it can read the record.  Until then it holds one
 * of few places, and a message from it is worth nothing.
 */
#include "tools/spawn-watcher/watcher.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/random.h"
#include "wire/stream.h"

/* When no connection can be taken. */
enum {
    PAUSE_MS = 1000
};

struct client {
    struct libspawn__list link;
    struct watcher *w;
    struct libspawn__io io;
    int fd;
    bool is_attached; /* it has said the secret */
};

static void on_connection(struct libspawn__io *io, uint32_t events);

/* ---- Places ------------------------------------------------------------ */

static void
listen_again(struct watcher *w)
{
    if (!w->listener_io.loop && w->listener_fd >= 0 &&
        w->n_clients < WATCHER_CLIENTS_MAX &&
        libspawn__io_add(w->loop, &w->listener_io, w->listener_fd, EPOLLIN,
                         on_connection, NULL)) {
        libspawn__timer_set(&w->accept_timer,
                            libspawn__clock_now_ms() + PAUSE_MS);
    }
}

static void
on_pause_over(struct libspawn__timer *timer)
{
    listen_again(CONTAINER_OF(timer, struct watcher, accept_timer));
}

static void
drop_client(struct client *client)
{
    struct watcher *w = client->w;

    libspawn__list_remove(&client->link);
    libspawn__io_remove(&client->io);
    close(client->fd);
    free(client);
    w->n_clients--;
    listen_again(w);
}

void
watcher_drop_clients(struct watcher *w)
{
    libspawn__timer_cancel(&w->accept_timer);
    libspawn__io_remove(&w->listener_io);
    libspawn__auto_close(&w->listener_fd);
    w->listener_fd = -1;
    while (!libspawn__list_is_empty(&w->clients)) {
        drop_client(CONTAINER_OF(w->clients.next, struct client, link));
    }
    free(w->text.control);
    free(w->text.secret);
    w->text.control = w->text.secret = NULL;
}

/* ---- What they say ----------------------------------------------------- */

static bool
knows_secret(const struct watcher *w,
             const struct libspawn__watcher_message *message)
{
    const char *said = message->u.attach.secret;
    unsigned int difference = 0;
    size_t i;

    /* Takes as long wherever the first difference is. */
    for (i = 0; i < LIBSPAWN__SECRET_SIZE; i++) {
        difference |= (unsigned char)said[i] ^
                      (unsigned char)w->text.secret[i];
    }
    return !difference;
}

/* The plan tells everything about the child that does not change; without it
 * the peer has what is in the record. */
static bool
answer(struct client *client)
{
    struct libspawn__watcher_message message = { 0 };
    AUTO_FD int memfd = -1;

    client->is_attached = client->w->is_released;
    message.u.attached.is_released = client->is_attached;
    if (libspawn__plan_pack(&client->w->plan, &memfd, NULL)) {
        memfd = -1;
    }
    watcher_send_to(client->fd, &message, LIBSPAWN__WATCHER_ATTACHED, memfd);
    return client->is_attached;
}

/* False when it is to be dropped. */
static bool
hear(struct client *client, const struct libspawn__watcher_message *message,
     int fd)
{
    struct watcher *w = client->w;

    if (!client->is_attached) {
        return message->type == LIBSPAWN__WATCHER_ATTACH &&
               knows_secret(w, message) && answer(client);
    }
    if (message->type == LIBSPAWN__WATCHER_STOP ||
        message->type == LIBSPAWN__WATCHER_UPGRADE) {
        watcher_obey(w, client->fd, message, fd);
    }
    return true;
}

static void
on_client(struct libspawn__io *io, uint32_t events)
{
    struct client *client = CONTAINER_OF(io, struct client, io);
    struct libspawn__watcher_message message;
    AUTO_FD int fd = -1;
    int r = watcher_receive(client->fd, &message, &fd);

    (void)events;
    if (r < 0 || (r > 0 && !hear(client, &message, fd))) {
        drop_client(client);
    }
}

void
watcher_tell_clients(struct watcher *w,
                     struct libspawn__watcher_message *message,
                     enum libspawn__watcher_type type)
{
    struct libspawn__list *link;

    LIST_FOR_EACH (link, &w->clients) {
        struct client *client = CONTAINER_OF(link, struct client, link);

        if (client->is_attached) {
            watcher_send_to(client->fd, message, type, -1);
        }
    }
}

/* ---- How they come ----------------------------------------------------- */

static bool
is_one_of_us(int fd)
{
    pid_t pid;
    uid_t uid;

    return !libspawn__stream_peer(fd, &pid, &uid, NULL) &&
           (uid == geteuid() || uid == 0);
}

void
watcher_add_client(struct watcher *w, int fd, bool is_attached)
{
    struct client *client = calloc(1, sizeof *client);

    if (!client ||
        libspawn__io_add(w->loop, &client->io, fd, EPOLLIN, on_client, NULL)) {
        free(client);
        close(fd);
        return;
    }
    client->w = w;
    client->fd = fd;
    client->is_attached = is_attached;
    libspawn__list_append(&w->clients, &client->link);
    if (++w->n_clients == WATCHER_CLIENTS_MAX) {
        libspawn__io_remove(&w->listener_io);
    }
}

size_t
watcher_list_clients(const struct watcher *w, int32_t *fds, size_t max)
{
    struct libspawn__list *link;
    size_t n = 0;

    LIST_FOR_EACH (link, &w->clients) {
        struct client *client = CONTAINER_OF(link, struct client, link);

        if (client->is_attached && n < max) {
            fds[n++] = client->fd;
        }
    }
    return n;
}

static void
on_connection(struct libspawn__io *io, uint32_t events)
{
    struct watcher *w = CONTAINER_OF(io, struct watcher, listener_io);
    int fd;
    int rc = libspawn__stream_accept(w->listener_fd, &fd, NULL);

    (void)events;
    if (rc == LIBSPAWN_ERR_BUSY) {
        return;
    } else if (rc) {
        /* What is not accepted stays, and would wake us without end. */
        libspawn__io_remove(&w->listener_io);
        libspawn__timer_set(&w->accept_timer,
                            libspawn__clock_now_ms() + PAUSE_MS);
        return;
    }
    if (!is_one_of_us(fd)) {
        close(fd);
        return;
    }
    watcher_add_client(w, fd, false);
}

static int
make_secret(char **secret_r, struct libspawn_err *err)
{
    uint32_t part[4];
    int rc = libspawn__random_fill(part, sizeof part, err);

    if (rc) {
        return rc;
    }
    *secret_r = libspawn__str_format("%08x%08x%08x%08x", part[0], part[1],
                                     part[2], part[3]);
    return *secret_r ? 0 : libspawn__fail_nomem(err);
}

int
watcher_listen_on(struct watcher *w, struct libspawn_err *err)
{
    libspawn__timer_init(w->loop, &w->accept_timer, on_pause_over);
    return w->listener_fd < 0
               ? 0
               : libspawn__io_add(w->loop, &w->listener_io, w->listener_fd,
                                  EPOLLIN, on_connection, err);
}

int
watcher_listen(struct watcher *w, struct libspawn_err *err)
{
    int rc;

    if (!w->plan.store_address) {
        return watcher_listen_on(w, err);
    }
    rc = make_secret(&w->text.secret, err);
    if (!rc) {
        rc = libspawn__stream_listen_hidden(&w->text.control, &w->listener_fd,
                                            err);
    }
    return rc ? rc : watcher_listen_on(w, err);
}
