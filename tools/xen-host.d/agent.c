/*
 * agent PORT - runs one command in dom0 for the host
 *
 * Started by init once dom0 is up. It says hello, waits for the request, runs
 * the command with /dev/null as its stdin (or on a terminal, if the host sent
 * a window size first), passes on what the command prints, reports its end and
 * waits for the host to end the machine. It exits only when it has failed.
 *
 * Mounting, the clock and the working directory are not done here: the
 * request names `enter`, which does them and then runs what the user asked
 * for.
 *
 * It may be frozen into a saved state of the machine while it waits for the
 * request and wake up in another run: nothing it holds by then may refer to
 * a time or to the host.
 */

#define _GNU_SOURCE
#include "frames.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS_CANNOT_RUN 126
#define WORDS_MAX 1024

extern char **environ;

/* The command's ends of its outputs, and ours. With a terminal both outputs
 * are the one pseudo-terminal, and input goes there too. */
struct command {
    char *argv[WORDS_MAX + 1];
    bool on_terminal;
    int terminal;         /* ours, or -1 */
    int output;           /* ours */
    int error;            /* ours, or -1 on a terminal */
    struct pending input; /* typed, not yet taken by the terminal */
    pid_t pid;
    int pidfd;
};

static _Noreturn void
fail(const char *what)
{
    fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void
set_window(int terminal, const struct frame *frame)
{
    const struct frame_window *window = (const void *)frame->payload;
    struct winsize size;

    if (frame->size != sizeof *window)
        return;
    memset(&size, 0, sizeof size);
    size.ws_row = (unsigned short)(window->rows[0] | window->rows[1] << 8);
    size.ws_col =
        (unsigned short)(window->columns[0] | window->columns[1] << 8);
    ioctl(terminal, TIOCSWINSZ, &size);
}

static void
open_terminal(struct command *command)
{
    command->on_terminal = true;
    command->terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (command->terminal < 0 || grantpt(command->terminal) < 0 ||
        unlockpt(command->terminal) < 0)
        fail("open a pseudo-terminal");
    /* Whoever neither reads what is typed nor stops printing must not stop
     * us. */
    fcntl(command->terminal, F_SETFL, O_RDWR | O_NONBLOCK);
}

/* Copies the words of the request; they live as long as the agent. */
static void
take_request(struct command *command, const struct frame *frame)
{
    char *words = malloc(frame->size + 1);
    size_t n = 0;

    if (!words)
        fail("take the request");
    memcpy(words, frame->payload, frame->size);
    words[frame->size] = '\0';
    for (char *at = words; at < words + frame->size && n < WORDS_MAX;
         at += strlen(at) + 1)
        command->argv[n++] = at;
    if (n == 0) {
        errno = EINVAL;
        fail("take the request");
    }
}

/* Runs that start from one saved state would all draw the same "random"
 * numbers until the kernel mixes in the processor's, which it does now. */
static void
reseed(void)
{
    int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);

    if (fd < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
        fail("reseed the random numbers");
    close(fd);
}

/* Waits for the request; a window size may come first. */
static void
receive_request(struct command *command, struct frame_reader *reader, int port)
{
    struct frame frame;

    while (frame_receive(reader, port)) {
        if (!frame_complete(reader, &frame))
            continue;
        if (frame.type == FRAME_WINDOW && !command->on_terminal)
            open_terminal(command);
        if (frame.type == FRAME_WINDOW)
            set_window(command->terminal, &frame);
        if (frame.type == FRAME_REQUEST) {
            take_request(command, &frame);
            return;
        }
    }
    fail("read the request");
}

/* The child leads a session of its own. The first terminal such a leader
 * opens becomes its controlling terminal, so Ctrl-C works in the shell. */
static int
spawn(struct command *command, posix_spawn_file_actions_t *actions)
{
    posix_spawnattr_t attr;
    int r;

    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
    r = posix_spawn(&command->pid, command->argv[0], actions, &attr,
                    command->argv, environ);
    posix_spawnattr_destroy(&attr);
    return r;
}

static int
start_on_terminal(struct command *command)
{
    posix_spawn_file_actions_t actions;
    int r;

    command->output = command->terminal;
    command->error = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, ptsname(command->terminal),
                                     O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    posix_spawn_file_actions_adddup2(&actions, 0, 2);
    r = spawn(command, &actions);
    posix_spawn_file_actions_destroy(&actions);
    return r;
}

static int
start_on_pipes(struct command *command)
{
    posix_spawn_file_actions_t actions;
    int out[2], err[2];
    int r;

    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
        fail("make the pipes");
    command->output = out[0];
    command->error = err[0];
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    r = spawn(command, &actions);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    close(err[1]);
    return r;
}

/* Passes on one piece of output. False: there is none now, or no more. A
 * terminal says so with EIO once its last user has gone. */
static bool
pass_on(int from, int port, enum frame_type type)
{
    unsigned char bytes[FRAME_MAX];
    ssize_t n = read(from, bytes, sizeof bytes);

    if (n <= 0)
        return false;
    if (!frame_send(port, type, bytes, (size_t)n))
        fail("write to the host");
    return true;
}

/* What the command left in the pipes. Those it started and left behind may
 * hold them open for ever, so this takes what is there and no more. */
static void
drain(int from, int port, enum frame_type type)
{
    if (from < 0)
        return;
    fcntl(from, F_SETFL, O_NONBLOCK);
    while (pass_on(from, port, type))
        ;
}

static void
handle_host(struct command *command, struct frame_reader *reader, int port)
{
    struct frame frame;

    if (!frame_receive(reader, port))
        fail("read from the host");
    if (!frame_complete(reader, &frame) || !command->on_terminal)
        return;
    if (frame.type == FRAME_WINDOW)
        set_window(command->terminal, &frame);
    if (frame.type == FRAME_INPUT) {
        command->input.fd = command->terminal;
        command->input.bytes = frame.payload;
        command->input.size = frame.size;
    }
}

/* Serves the command until it ends. */
static void
serve(struct command *command, struct frame_reader *reader, int port)
{
    struct pollfd fds[] = {
        { .fd = command->pidfd, .events = POLLIN },
        { .fd = port, .events = POLLIN },
        { .fd = command->output, .events = POLLIN },
        { .fd = command->error, .events = POLLIN },
        { .fd = -1, .events = POLLOUT },
    };

    while (!fds[0].revents) {
        bool input_pending = command->input.size > 0;

        fds[1].fd = input_pending ? -1 : port;
        fds[4].fd = input_pending ? command->terminal : -1;
        if (poll(fds, 5, -1) < 0)
            fail("wait for the command");
        if (fds[1].revents)
            handle_host(command, reader, port);
        if (fds[2].revents && !pass_on(command->output, port, FRAME_OUTPUT))
            fds[2].fd = -1;
        if (fds[3].revents && !pass_on(command->error, port, FRAME_ERROR))
            fds[3].fd = -1;
        if (fds[4].revents)
            pending_write(&command->input);
    }
    drain(command->output, port, FRAME_OUTPUT);
    drain(command->error, port, FRAME_ERROR);
}

static unsigned char
exit_status(pid_t pid)
{
    int status = 0;

    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        return (unsigned char)(128 + WTERMSIG(status));
    return (unsigned char)WEXITSTATUS(status);
}

int
main(int argc, char **argv)
{
    static struct frame_reader reader;
    static struct command command = { .terminal = -1 };
    unsigned char status = STATUS_CANNOT_RUN;
    int port;
    int r;

    if (argc != 2)
        return 2;
    port = open(argv[1], O_RDWR | O_CLOEXEC);
    if (port < 0)
        fail(argv[1]);
    frame_send(port, FRAME_HELLO, NULL, 0);
    receive_request(&command, &reader, port);
    reseed();
    r = command.on_terminal ? start_on_terminal(&command)
                            : start_on_pipes(&command);
    if (r == 0) {
        command.pidfd = pidfd_open(command.pid, 0);
        if (command.pidfd < 0)
            fail("watch the command");
        frame_send(port, FRAME_STARTED, NULL, 0);
        serve(&command, &reader, port);
        status = exit_status(command.pid);
    }
    /* The machine's end is a sudden one; what was written to the host's
     * directories has to be there by then. */
    sync();
    frame_send(port, FRAME_EXIT, &status, 1);
    /* What the host has not read yet would be lost with the machine. It ends
     * the machine when it has read this. */
    for (;;)
        pause();
}
