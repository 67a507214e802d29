#include "tools/test-device-model/monitor.h"

#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"
#include "tools/test-device-model/keyval.h"
#include "wire/stream.h"

enum {
    READ_SIZE = 4096,
    COMMAND_SIZE_MAX = 1 << 20,
    FLOOD_SIZE = 65536 /* at a time */
};

struct monitor {
    struct monitors *all;
    int listener; /* -1: it has had its one client */
    int client;   /* -1: none */
    struct libspawn__io listener_io;
    struct libspawn__io client_io;
    struct libspawn__timer answer_timer; /* of --answer-after */
    struct libspawn__buf in;
    struct libspawn__buf out;
    bool is_negotiated;
    uint64_t n_clients; /* that it has had, with the present one */
};

struct monitors {
    struct libspawn__loop *loop;
    const struct options *options;
    struct machine *machine;
    struct monitor *items;
    size_t n_items;
};

/* ---- One client --------------------------------------------------------- */

static void drop_client(struct monitor *monitor);

/* Sends what it can now; the rest waits until the client has read. */
static void
flush(struct monitor *monitor)
{
    const struct options *options = monitor->all->options;

    if (monitor->client < 0) {
        return;
    }
    while (monitor->out.size) {
        ssize_t n = send(monitor->client, monitor->out.data, monitor->out.size,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0) {
            libspawn__buf_consume(&monitor->out, (size_t)n);
        } else if (n < 0 && errno == EAGAIN) {
            break;
        } else if (n < 0 && errno != EINTR) {
            drop_client(monitor);
            return;
        }
    }
    libspawn__io_modify(
        &monitor->client_io,
        monitor->out.size || options->flood ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void
send_line(struct monitor *monitor, const char *line)
{
    libspawn__buf_puts(&monitor->out, line);
    libspawn__buf_puts(&monitor->out, "\r\n");
    flush(monitor);
}

static void
flood(struct monitor *monitor)
{
    static char part[FLOOD_SIZE];

    memset(part, 'x', sizeof part);
    libspawn__buf_append(&monitor->out, part, sizeof part);
    flush(monitor);
}

static bool
is_mute(const struct monitor *monitor)
{
    const struct options *options = monitor->all->options;

    return options->mute || (options->mute_after &&
                             monitor->n_clients > options->mute_after);
}

static void
greet(struct monitor *monitor)
{
    const struct options *options = monitor->all->options;
    AUTO_FREE char *greeting = NULL;

    if (is_mute(monitor)) {
        return;
    }
    if (options->flood) {
        flood(monitor);
    } else if (options->garbage) {
        send_line(monitor, "}\x01\xff not what you expect [\"{");
    } else {
        greeting = machine_greeting();
        send_line(monitor, greeting ? greeting : "");
    }
}

static bool
takes_commands(const struct monitor *monitor)
{
    const struct options *options = monitor->all->options;

    return !is_mute(monitor) && !options->greet_only && !options->garbage &&
           !options->flood;
}

static void
run_line(struct monitor *monitor, const char *line, size_t size)
{
    struct machine *machine = monitor->all->machine;
    AUTO_FREE char *answer = NULL;

    if (!size || (size == 1 && line[0] == '\r')) {
        return;
    }
    answer = machine_run(machine, line, size, &monitor->is_negotiated);
    if (answer) {
        send_line(monitor, answer);
    }
    machine_run_request(machine);
}

static void
run_lines(struct monitor *monitor)
{
    while (monitor->client >= 0 && monitor->in.size) {
        const char *end = memchr(monitor->in.data, '\n', monitor->in.size);
        size_t size;

        if (!end) {
            break;
        }
        size = (size_t)(end - monitor->in.data);
        run_line(monitor, monitor->in.data, size);
        if (monitor->client >= 0) {
            libspawn__buf_consume(&monitor->in, size + 1);
        }
    }
}

static void
answer_due(struct libspawn__timer *timer)
{
    run_lines(CONTAINER_OF(timer, struct monitor, answer_timer));
}

static void
take_input(struct monitor *monitor)
{
    const struct options *options = monitor->all->options;

    if (!takes_commands(monitor)) {
        libspawn__buf_consume(&monitor->in, monitor->in.size);
    } else if (options->answer_after_ms) {
        libspawn__timer_set(&monitor->answer_timer,
                            libspawn__clock_now_ms() +
                                (int64_t)options->answer_after_ms);
    } else {
        run_lines(monitor);
    }
}

static void
client_ready(struct libspawn__io *io, uint32_t events)
{
    struct monitor *monitor = CONTAINER_OF(io, struct monitor, client_io);
    ssize_t n;

    if (events & EPOLLOUT) {
        if (monitor->all->options->flood && !monitor->out.size) {
            flood(monitor);
        } else {
            flush(monitor);
        }
    }
    if (monitor->client < 0 || !(events & ~(uint32_t)EPOLLOUT)) {
        return;
    }
    if (monitor->in.size > COMMAND_SIZE_MAX ||
        !libspawn__buf_reserve(&monitor->in, READ_SIZE)) {
        drop_client(monitor);
        return;
    }
    n = read(io->fd, monitor->in.data + monitor->in.size, READ_SIZE);
    if (n > 0) {
        monitor->in.size += (size_t)n;
        monitor->in.data[monitor->in.size] = '\0';
        take_input(monitor);
    } else if (!n || (errno != EAGAIN && errno != EINTR)) {
        drop_client(monitor);
    }
}

/* ---- Clients come and go ------------------------------------------------ */

static void listener_ready(struct libspawn__io *io, uint32_t events);

static int
listen_again(struct monitor *monitor, struct libspawn_err *err)
{
    if (monitor->listener < 0) {
        return 0;
    }
    return libspawn__io_add(monitor->all->loop, &monitor->listener_io,
                            monitor->listener, EPOLLIN, listener_ready, err);
}

static void
drop_client(struct monitor *monitor)
{
    libspawn__timer_cancel(&monitor->answer_timer);
    libspawn__io_remove(&monitor->client_io);
    libspawn__auto_close(&monitor->client);
    monitor->client = -1;
    monitor->is_negotiated = false;
    libspawn__buf_dispose(&monitor->in);
    libspawn__buf_dispose(&monitor->out);
    (void)listen_again(monitor, NULL);
}

static int
take_client(struct monitor *monitor, struct libspawn_err *err)
{
    int rc = libspawn__io_add(monitor->all->loop, &monitor->client_io,
                              monitor->client, EPOLLIN, client_ready, err);

    if (!rc) {
        monitor->n_clients++;
        greet(monitor);
    }
    return rc;
}

static void
listener_ready(struct libspawn__io *io, uint32_t events)
{
    struct monitor *monitor = CONTAINER_OF(io, struct monitor, listener_io);

    (void)events;
    if (libspawn__stream_accept(monitor->listener, &monitor->client, NULL)) {
        return;
    }
    libspawn__io_remove(io);
    if (take_client(monitor, NULL)) {
        drop_client(monitor);
    }
}

/* ---- All of them -------------------------------------------------------- */

static const char *
find_chardev(const struct options *options, const char *id)
{
    size_t i;

    for (i = 0; i < options->chardevs.n_items; i++) {
        if (keyval_is(options->chardevs.items[i], "id", id)) {
            return options->chardevs.items[i];
        }
    }
    return NULL;
}

static int
open_socket(struct monitor *monitor, const char *chardev,
            struct libspawn_err *err)
{
    AUTO_FREE char *number = keyval_get(chardev, "fd");
    AUTO_FREE char *path = keyval_get(chardev, "path");
    bool is_server = keyval_is(chardev, "server", "on");
    AUTO_FREE char *name = NULL;

    if (!number && !path) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "-chardev %s: neither fd nor path", chardev);
    }
    name = libspawn__str_format("%s%s:%s", is_server ? "p" : "",
                                number ? "fd" : "unix",
                                number ? number : path);
    if (!name) {
        return libspawn__fail_nomem(err);
    }
    return is_server
               ? libspawn__stream_listen(name, 0600, &monitor->listener, err)
               : libspawn__stream_connect(name, &monitor->client, err);
}

static int
open_monitor(struct monitors *monitors, const char *text,
             struct libspawn_err *err)
{
    AUTO_FREE char *id = keyval_get(text, "chardev");
    const char *chardev = id ? find_chardev(monitors->options, id) : NULL;
    struct monitor *monitor = &monitors->items[monitors->n_items];

    if (!keyval_is(text, "mode", "control")) {
        return 0; /* a monitor for people */
    }
    if (!chardev) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "-mon %s: there is no such chardev", text);
    }
    *monitor =
        (struct monitor){ .all = monitors, .listener = -1, .client = -1 };
    libspawn__timer_init(monitors->loop, &monitor->answer_timer, answer_due);
    monitors->n_items++;
    return open_socket(monitor, chardev, err);
}

int
monitors_open(struct libspawn__loop *loop, const struct options *options,
              struct machine *machine, struct monitors **monitors_r,
              struct libspawn_err *err)
{
    struct monitors *monitors = calloc(1, sizeof *monitors);
    size_t i;

    if (!monitors) {
        return libspawn__fail_nomem(err);
    }
    *monitors = (struct monitors){ .loop = loop,
                                   .options = options,
                                   .machine = machine };
    monitors->items =
        calloc(options->monitors.n_items + 1, sizeof *monitors->items);
    if (!monitors->items) {
        free(monitors);
        return libspawn__fail_nomem(err);
    }
    for (i = 0; i < options->monitors.n_items; i++) {
        int rc = open_monitor(monitors, options->monitors.items[i], err);

        if (rc) {
            monitors_close(monitors);
            return rc;
        }
    }
    *monitors_r = monitors;
    return 0;
}

void
monitors_close(struct monitors *monitors)
{
    size_t i;

    for (i = 0; monitors && i < monitors->n_items; i++) {
        struct monitor *monitor = &monitors->items[i];
        int listener = TAKE_FD(monitor->listener);

        drop_client(monitor);
        libspawn__io_remove(&monitor->listener_io);
        libspawn__auto_close(&listener);
    }
    if (monitors) {
        free(monitors->items);
        free(monitors);
    }
}

int
monitors_serve(struct monitors *monitors, struct libspawn_err *err)
{
    size_t i;
    int rc = 0;

    for (i = 0; i < monitors->n_items && !rc; i++) {
        struct monitor *monitor = &monitors->items[i];

        rc = monitor->client >= 0 ? take_client(monitor, err)
                                  : listen_again(monitor, err);
    }
    return rc;
}

void
monitors_hang_up(struct monitors *monitors)
{
    size_t i;

    for (i = 0; i < monitors->n_items; i++) {
        if (monitors->items[i].client >= 0) {
            drop_client(&monitors->items[i]);
        }
    }
}

void
monitors_send_event(struct monitors *monitors, const char *line)
{
    size_t i;

    for (i = 0; i < monitors->n_items; i++) {
        struct monitor *monitor = &monitors->items[i];

        if (monitor->client >= 0 && monitor->is_negotiated) {
            send_line(monitor, line);
        }
    }
}
