/*
 * relay - starts QEMU, runs one command in the Xen host inside, ends QEMU
 *
 *     relay [OPTION]... --qemu N WORD... [--guest N WORD...]
 *                       [--fallback N WORD...]
 *
 * Each of the three command lines is given as its number of words and the
 * words. QEMU finds three connected sockets: PORT_FD for the virtio-serial
 * port (frames.h), LOG_FD for the serial console and MONITOR_FD.
 *
 *     --boot-limit S    give up when the command does not run after S seconds
 *     --timeout S       end the command S seconds after it started: status 124
 *     --terminal        run it on a terminal that stands for ours
 *     --resume FD       QEMU waits for a saved state: have it read FD
 *     --save NAME       run no command; once dom0 is up, have QEMU save its
 *                       state, all but the memory, to the file NAME in the
 *                       current directory (a shell reads NAME) and end
 *     --verbose         the console's output on stderr
 *     --progress WORD   "WORD ... S s" on stderr until the command runs
 *
 * The exit status is the command's, or 124, or 125 when the host did not
 * come up or went away; then the cause and the end of the console's output
 * are on stderr. If it did not come up and there is a fallback, that is
 * executed instead, without a word.
 *
 * QEMU never outlives this process: it is killed by its pid on every way out,
 * and `setpriv --pdeathsig`, which the caller puts before it, covers SIGKILL.
 * There is no state on disk, so killing is all the end a run needs.
 */

#define _GNU_SOURCE
#include "frames.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
    PORT_FD = 3,
    LOG_FD = 4,
    MONITOR_FD = 5
};

/* The memory is a file, which QEMU finds by itself: neither written to the
 * state nor read from it. */
#define MONITOR_PREPARE "migrate_set_capability x-ignore-shared on\n"
#define MONITOR_SAVE MONITOR_PREPARE "migrate \"exec:cat >%s\"\nquit\n"
#define MONITOR_RESUME MONITOR_PREPARE "migrate_incoming fd:%s\n"

enum {
    STATUS_USAGE = 2,
    STATUS_TIMEOUT = 124,
    STATUS_NO_HOST = 125
};

#define LOG_KEPT 4096 /* of the console's output, for a failure */
#define NO_STATUS (-1)

extern char **environ;

struct options {
    char **qemu;
    char **guest;
    char **fallback;
    const char *save;   /* the file's name */
    const char *resume; /* the descriptor's number */
    const char *progress;
    long boot_limit;
    long timeout;
    bool terminal;
    bool verbose;
};

struct run {
    const struct options *options;
    pid_t qemu;
    int port;
    int log;
    int monitor;
    int signals;  /* those that end us, and SIGWINCH */
    bool started; /* the command, or the saving of the state */
    long long began_ms;
    long long deadline_ms; /* of the boot, then of the command */
    int status;            /* what we shall exit with, or NO_STATUS */
    int by_signal;         /* the signal that told us to end, or 0 */
    const char *cause;     /* why there is no host, or NULL */
    long long shown_s;     /* the last progress shown; 0 is none */
    size_t log_size;
    char log_tail[LOG_KEPT];
    struct frame_reader reader;
    struct pending output; /* of the command, to whoever reads ours */
    struct termios saved_terminal;
};

static _Noreturn void
fail(const char *what)
{
    fprintf(stderr, "xen-host: cannot %s: %s\n", what, strerror(errno));
    exit(STATUS_NO_HOST);
}

static long long
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- Starting ---- */

/* A connected pair; both ends lie above the numbers QEMU's are moved to. */
static void
make_pair(int pair[2])
{
    int low[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, low) < 0)
        fail("make a socket pair");
    for (int i = 0; i < 2; i++) {
        pair[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 16);
        if (pair[i] < 0)
            fail("make a socket pair");
        close(low[i]);
    }
}

static void
start_qemu(struct run *run)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    int port[2], log[2], monitor[2];
    int r;

    make_pair(port);
    make_pair(log);
    make_pair(monitor);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, log[1], 1);
    posix_spawn_file_actions_adddup2(&actions, log[1], 2);
    posix_spawn_file_actions_adddup2(&actions, port[1], PORT_FD);
    posix_spawn_file_actions_adddup2(&actions, log[1], LOG_FD);
    posix_spawn_file_actions_adddup2(&actions, monitor[1], MONITOR_FD);
    sigemptyset(&none);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    /* A group of its own: Ctrl-C is for us to handle. */
    posix_spawnattr_setflags(&attr,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    r = posix_spawnp(&run->qemu, run->options->qemu[0], &actions, &attr,
                     run->options->qemu, environ);
    if (r != 0) {
        errno = r;
        fail("start QEMU");
    }
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    close(port[1]);
    close(log[1]);
    close(monitor[1]);
    run->port = port[0];
    run->log = log[0];
    run->monitor = monitor[0];
}

static void
send_window(struct run *run)
{
    struct frame_window window;
    struct winsize size;

    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
        memset(&size, 0, sizeof size);
    window.rows[0] = (unsigned char)size.ws_row;
    window.rows[1] = (unsigned char)(size.ws_row >> 8);
    window.columns[0] = (unsigned char)size.ws_col;
    window.columns[1] = (unsigned char)(size.ws_col >> 8);
    frame_send(run->port, FRAME_WINDOW, &window, sizeof window);
}

/* Sent before the host is up: it waits in the socket until dom0 reads it. */
static void
send_request(struct run *run)
{
    char words[FRAME_MAX];
    size_t size = 0;

    for (char **word = run->options->guest; *word; word++) {
        size_t length = strlen(*word) + 1;

        if (length > sizeof words - size) {
            errno = E2BIG;
            fail("send the command");
        }
        memcpy(words + size, *word, length);
        size += length;
    }
    if (run->options->terminal)
        send_window(run);
    frame_send(run->port, FRAME_REQUEST, words, size);
}

/* ---- Running ---- */

static void
show_progress(struct run *run)
{
    long long elapsed = (now_ms() - run->began_ms) / 1000;

    if (!run->options->progress || run->started || elapsed <= run->shown_s)
        return;
    fprintf(stderr, "\r%s ... %lld s", run->options->progress, elapsed);
    run->shown_s = elapsed;
}

static void
clear_progress(struct run *run)
{
    if (run->shown_s > 0)
        fprintf(stderr, "\r\033[K");
    run->shown_s = 0;
}

static void
keep_log(struct run *run, const char *bytes, size_t size)
{
    size_t excess;

    if (run->options->verbose)
        write_all(STDERR_FILENO, bytes, size);
    if (size > LOG_KEPT) {
        bytes += size - LOG_KEPT;
        size = LOG_KEPT;
    }
    excess = run->log_size + size > LOG_KEPT ? run->log_size + size - LOG_KEPT
                                             : 0;
    memmove(run->log_tail, run->log_tail + excess, run->log_size - excess);
    run->log_size -= excess;
    memcpy(run->log_tail + run->log_size, bytes, size);
    run->log_size += size;
}

/* False at the end of the log. */
static bool
handle_log(struct run *run)
{
    char bytes[LOG_KEPT];
    ssize_t n = read(run->log, bytes, sizeof bytes);

    if (n > 0)
        keep_log(run, bytes, (size_t)n);
    return n > 0;
}

static void
mark_started(struct run *run)
{
    clear_progress(run);
    run->started = true;
    run->deadline_ms =
        run->options->timeout ? now_ms() + run->options->timeout * 1000 : 0;
}

static void
begin_output(struct run *run, int fd, const struct frame *frame)
{
    run->output.fd = fd;
    run->output.bytes = frame->payload;
    run->output.size = frame->size;
}

/* When the reader of our stdout has gone we go too, as other programs do. */
static void
handle_output(struct run *run)
{
    if (pending_write(&run->output) || run->output.fd != STDOUT_FILENO)
        return;
    if (errno == EPIPE) {
        run->by_signal = SIGPIPE;
        return;
    }
    perror("xen-host: cannot write the command's output");
    run->status = STATUS_NO_HOST;
}

static void
handle_frame(struct run *run, const struct frame *frame)
{
    switch (frame->type) {
    case FRAME_HELLO:
        if (run->options->save) {
            mark_started(run);
            dprintf(run->monitor, MONITOR_SAVE, run->options->save);
        }
        break;
    case FRAME_STARTED:
        mark_started(run);
        break;
    case FRAME_OUTPUT:
        begin_output(run, STDOUT_FILENO, frame);
        break;
    case FRAME_ERROR:
        begin_output(run, STDERR_FILENO, frame);
        break;
    case FRAME_EXIT:
        run->status = frame->size == 1 ? frame->payload[0] : STATUS_NO_HOST;
        break;
    case FRAME_WINDOW:
    case FRAME_REQUEST:
    case FRAME_INPUT:
        break;
    }
}

static bool
handle_port(struct run *run)
{
    struct frame frame;

    if (!frame_receive(&run->reader, run->port))
        return false;
    if (frame_complete(&run->reader, &frame))
        handle_frame(run, &frame);
    return true;
}

/* The monitor echoes each key with all that a line editor does to a screen.
 * What went wrong is on QEMU's stderr too. */
static bool
discard_monitor(struct run *run)
{
    char bytes[LOG_KEPT];

    return read(run->monitor, bytes, sizeof bytes) > 0;
}

static void
handle_signal(struct run *run)
{
    struct signalfd_siginfo info;

    if (read(run->signals, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGWINCH)
        send_window(run);
    else
        run->by_signal = (int)info.ssi_signo;
}

static bool
handle_typed(struct run *run)
{
    char bytes[1024];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);

    return n > 0 && frame_send(run->port, FRAME_INPUT, bytes, (size_t)n);
}

static void
handle_deadline(struct run *run)
{
    if (!run->deadline_ms || now_ms() < run->deadline_ms)
        return;
    if (run->started) {
        fprintf(stderr, "xen-host: the command has not ended in %ld s\n",
                run->options->timeout);
        run->status = STATUS_TIMEOUT;
    } else {
        run->cause = "the Xen host did not come up in time";
    }
}

/* Until the deadline, or the next whole second if there is progress to show;
 * -1 is for ever. */
static int
poll_ms(const struct run *run)
{
    long long now = now_ms();
    long long ms = INT_MAX;

    if (run->options->progress && !run->started)
        ms = 1000 - (now - run->began_ms) % 1000;
    if (run->deadline_ms && run->deadline_ms - now < ms)
        ms = run->deadline_ms > now ? run->deadline_ms - now : 0;
    return ms == INT_MAX ? -1 : (int)ms;
}

/* QEMU has ended, and everything the agent said has been read. */
static void
handle_port_closed(struct run *run)
{
    run->cause = run->started
                     ? "the Xen host went away before the command ended"
                     : "the Xen host went away while booting";
}

static void
serve(struct run *run)
{
    struct pollfd fds[] = {
        { .fd = run->signals, .events = POLLIN },
        { .fd = run->port, .events = POLLIN },
        { .fd = run->log, .events = POLLIN },
        { .fd = run->monitor, .events = POLLIN },
        { .fd = run->options->terminal ? STDIN_FILENO : -1, .events = POLLIN },
        { .fd = -1, .events = POLLOUT },
    };

    while (run->status == NO_STATUS && !run->by_signal && !run->cause) {
        bool output_pending = run->output.size > 0;

        fds[1].fd = output_pending ? -1 : run->port;
        fds[5].fd = output_pending ? run->output.fd : -1;
        if (poll(fds, 6, poll_ms(run)) < 0)
            fail("wait for the Xen host");
        if (fds[0].revents)
            handle_signal(run);
        if (fds[1].revents && !handle_port(run))
            handle_port_closed(run);
        if (fds[2].revents && !handle_log(run))
            fds[2].fd = -1;
        if (fds[3].revents && !discard_monitor(run))
            fds[3].fd = -1;
        if (fds[4].revents && !handle_typed(run))
            fds[4].fd = -1;
        if (fds[5].revents)
            handle_output(run);
        handle_deadline(run);
        show_progress(run);
    }
}

/* ---- Ending ---- */

/* True if QEMU ends by itself, which counts as success. */
static bool
is_saved(const struct run *run)
{
    return run->options->save && run->started && run->cause;
}

/* Only now is the pid given up, so it cannot have become anyone else's. */
static int
end_qemu(struct run *run)
{
    int status = 0;

    if (!is_saved(run))
        kill(run->qemu, SIGKILL);
    waitpid(run->qemu, &status, 0);
    return status;
}

static void
report(struct run *run)
{
    struct pollfd log = { .fd = run->log, .events = POLLIN };

    while (poll(&log, 1, 0) > 0 && handle_log(run))
        ;
    fprintf(stderr, "xen-host: %s; the end of its console:\n", run->cause);
    write_all(STDERR_FILENO, run->log_tail, run->log_size);
    if (run->log_size > 0 && run->log_tail[run->log_size - 1] != '\n')
        fputc('\n', stderr);
}

static void
unblock_signals(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, NULL);
    signal(SIGPIPE, SIG_DFL);
}

/* Those who started us must see that a signal ended us. */
static _Noreturn void
die_by(int signal_number)
{
    signal(signal_number, SIG_DFL);
    unblock_signals();
    raise(signal_number);
    exit(128 + signal_number);
}

static int
finish(struct run *run)
{
    int qemu_status = end_qemu(run);

    clear_progress(run);
    if (run->by_signal)
        die_by(run->by_signal);
    if (!run->cause)
        return run->status;
    if (is_saved(run) && qemu_status == 0)
        return 0;
    if (!run->started && run->options->fallback) {
        unblock_signals();
        execvp(run->options->fallback[0], run->options->fallback);
        fail("execute the fallback");
    }
    report(run);
    return STATUS_NO_HOST;
}

/* ---- Around it ---- */

static int
open_signals(bool terminal)
{
    sigset_t set;
    int fd;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    if (terminal)
        sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (fd < 0)
        fail("receive signals");
    signal(SIGPIPE, SIG_IGN);
    return fd;
}

static void
make_raw(struct run *run)
{
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &run->saved_terminal) < 0)
        fail("use a terminal as the shell's");
    raw = run->saved_terminal;
    cfmakeraw(&raw);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

/* The words after "--qemu N" and its like; moves `at` past them. The slot
 * that ends them in argv is the next option's, so they are copied. */
static char **
take_words(char ***at)
{
    size_t n = **at ? strtoul(**at, NULL, 10) : 0;
    char **words = calloc(n + 1, sizeof *words);

    if (!words)
        fail("take the arguments");
    for (size_t i = 0; i < n && (*at)[1]; i++)
        words[i] = *++*at;
    return words;
}

static bool
take_option(struct options *options, char ***at)
{
    const char *name = **at;

    if (!strcmp(name, "--terminal")) {
        options->terminal = true;
        return true;
    }
    if (!strcmp(name, "--verbose")) {
        options->verbose = true;
        return true;
    }
    if (!*++*at)
        return false;
    if (!strcmp(name, "--qemu"))
        options->qemu = take_words(at);
    else if (!strcmp(name, "--guest"))
        options->guest = take_words(at);
    else if (!strcmp(name, "--fallback"))
        options->fallback = take_words(at);
    else if (!strcmp(name, "--boot-limit"))
        options->boot_limit = strtol(**at, NULL, 10);
    else if (!strcmp(name, "--timeout"))
        options->timeout = strtol(**at, NULL, 10);
    else if (!strcmp(name, "--save"))
        options->save = **at;
    else if (!strcmp(name, "--resume"))
        options->resume = **at;
    else if (!strcmp(name, "--progress"))
        options->progress = **at;
    else
        return false;
    return true;
}

int
main(int argc, char **argv)
{
    static struct options options = { .boot_limit = 120 };
    static struct run run = { .options = &options, .status = NO_STATUS };
    int status;

    (void)argc;
    for (char **at = argv + 1; *at; at++) {
        if (!take_option(&options, &at)) {
            fprintf(stderr, "xen-host: relay: wrong arguments\n");
            return STATUS_USAGE;
        }
    }
    if (!options.qemu || (!options.guest && !options.save))
        return STATUS_USAGE;
    run.signals = open_signals(options.terminal);
    run.began_ms = now_ms();
    run.deadline_ms = run.began_ms + options.boot_limit * 1000;
    if (options.terminal)
        make_raw(&run);
    start_qemu(&run);
    if (options.resume)
        dprintf(run.monitor, MONITOR_RESUME, options.resume);
    if (options.guest)
        send_request(&run);
    serve(&run);
    if (options.terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &run.saved_terminal);
    status = finish(&run);
    return status;
}
