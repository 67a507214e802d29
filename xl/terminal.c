#include "xl/terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/signals.h"
#include "base/util.h"

/* A pty whose other side is closed reads as EIO. */
static bool
is_end(ssize_t n)
{
    return !n || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* Both false once that side is done. */
struct pump {
    int console_fd;
    bool has_input;
    bool is_open;
};

static void
from_console(struct pump *pump)
{
    char bytes[4096];
    ssize_t n = read(pump->console_fd, bytes, sizeof bytes);

    if (is_end(n)) {
        pump->is_open = false;
    } else if (n > 0 &&
               libspawn__fd_write_full(STDOUT_FILENO, bytes, (size_t)n)) {
        pump->is_open = false; /* nobody reads what we print */
    }
}

/* A console that does not take its input loses it: a guest must not be able
 * to hang the user's terminal. */
static void
to_console(struct pump *pump)
{
    char bytes[1024];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    char *escape;

    if (is_end(n)) {
        pump->has_input = false;
        return;
    }
    if (n < 0) {
        return;
    }
    escape = memchr(bytes, XL__TERMINAL_ESCAPE, (size_t)n);
    if (escape) {
        pump->is_open = false;
        n = escape - bytes;
    }
    if (n && write(pump->console_fd, bytes, (size_t)n) < 0 &&
        errno != EAGAIN && errno != EINTR) {
        pump->is_open = false;
    }
}

static int
run_pump(struct pump *pump, int signal_fd, struct libspawn_err *err)
{
    while (pump->is_open) {
        struct pollfd fds[] = {
            { .fd = pump->console_fd, .events = POLLIN },
            { .fd = pump->has_input ? STDIN_FILENO : -1, .events = POLLIN },
            { .fd = signal_fd, .events = POLLIN },
        };

        if (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
            if (errno == EINTR) {
                continue;
            }
            return libspawn__fail_errno(err, errno, "waiting for the console");
        }
        if (fds[2].revents) {
            break; /* asked to end; the terminal is put right first */
        }
        if (fds[0].revents) {
            from_console(pump);
        }
        if (fds[1].revents && pump->is_open) {
            to_console(pump);
        }
    }
    return 0;
}

int
xl__terminal_attach(int console_fd, struct libspawn_err *err)
{
    struct pump pump = { .console_fd = console_fd,
                         .has_input = true,
                         .is_open = true };
    struct termios saved;
    struct termios raw;
    bool is_terminal = !tcgetattr(STDIN_FILENO, &saved);
    AUTO_FD int signal_fd = libspawn__signals_open();
    int rc;

    if (is_terminal) {
        raw = saved;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    rc = run_pump(&pump, signal_fd, err);
    if (is_terminal) {
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
    }
    return rc;
}
