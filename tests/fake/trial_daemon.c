/*
 * A daemon that does what tests of proc/daemon.h ask for: each argument is a
 * word, done in order; behind the last it exits with 0.
 *
 *     stage=NAME say=TEXT fail=TEXT print=TEXT   as named
 *     make=PATH        makes a file; it is removed by undoing
 *     pidfile=PATH     takes it; it goes with the daemon
 *     await            until it is told something, which it repeats
 *     until=FIFO       until somebody opens it for writing
 *     ready            daemonize complete
 *     helper           starts a program that sleeps for 30 s
 *     linger           until it is told to leave; then undoes, and exits 9
 *     deaf             for ever, whatever it is told
 *     stop, signal=N, exit=N
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/util.h"
#include "proc/daemon.h"
#include "proc/pidfile.h"

enum { EXIT_LEFT = 9, EXIT_GONE = 10, EXIT_TROUBLE = 99 };

static struct libspawn__daemon daemon_state;
static struct libspawn__loop *loop;
static struct libspawn__pidfile pidfile = LIBSPAWN__PIDFILE_INIT;
static char *made; /* by "make", absolute; NULL: nothing */
static bool is_told;
static bool is_left;

static void
undo(int status)
{
    if (made) {
        unlink(made);
    }
    libspawn__pidfile_remove(&pidfile);
    exit(status);
}

static void
on_told(struct libspawn__daemon *daemon, const char *text, int fd)
{
    if (text) {
        is_told = true;
        libspawn__daemon_say(daemon, text, fd);
        libspawn__auto_close(&fd);
    } else {
        is_left = true;
    }
}

/* ---- Words ------------------------------------------------------------- */

static void
do_stage(const char *value)
{
    libspawn__daemon_set_stage(&daemon_state, value);
}

static void
do_say(const char *value)
{
    libspawn__daemon_say(&daemon_state, value, -1);
}

static void
do_fail(const char *value)
{
    libspawn__daemon_fail(&daemon_state, value);
}

static void
do_print(const char *value)
{
    fprintf(stderr, "%s\n", value);
    fflush(stderr);
}

static void
do_make(const char *value)
{
    int fd = open(value, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    if (fd < 0) {
        exit(EXIT_TROUBLE);
    }
    close(fd);
    made = realpath(value, NULL);
}

static void
do_pidfile(const char *value)
{
    if (libspawn__pidfile_take(&pidfile, value, NULL, NULL)) {
        exit(EXIT_TROUBLE);
    }
}

static void
do_await(const char *value)
{
    (void)value;
    while (!is_told && !is_left) {
        libspawn__loop_wait(loop, -1, NULL);
    }
}

static void
do_until(const char *value)
{
    int fd;

    do {
        fd = open(value, O_RDONLY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    libspawn__auto_close(&fd);
}

static void
do_ready(const char *value)
{
    if (libspawn__daemon_complete(&daemon_state, value, NULL)) {
        undo(EXIT_GONE);
    }
}

static void
do_helper(const char *value)
{
    char sleep_name[] = "sleep";
    char seconds[] = "30";
    char *argv[] = { sleep_name, seconds, NULL };
    pid_t pid;

    (void)value;
    if (posix_spawnp(&pid, sleep_name, NULL, NULL, argv, environ)) {
        exit(EXIT_TROUBLE);
    }
}

static void
do_linger(const char *value)
{
    (void)value;
    while (!is_left) {
        libspawn__loop_wait(loop, -1, NULL);
    }
    undo(EXIT_LEFT);
}

static void
do_deaf(const char *value)
{
    (void)value;
    for (;;) {
        pause();
    }
}

static void
do_stop(const char *value)
{
    (void)value;
    raise(SIGSTOP);
}

static void
do_signal(const char *value)
{
    int number = (int)strtol(value, NULL, 10);

    signal(number, SIG_DFL); /* a sanitizer may have it */
    raise(number);
}

static void
do_exit(const char *value)
{
    exit((int)strtol(value, NULL, 10));
}

static const struct {
    const char *name;
    void (*fn)(const char *value);
} words[] = {
    { "stage", do_stage },     { "say", do_say },       { "fail", do_fail },
    { "print", do_print },     { "make", do_make },     { "await", do_await },
    { "pidfile", do_pidfile }, { "ready", do_ready },   { "deaf", do_deaf },
    { "helper", do_helper },   { "linger", do_linger }, { "stop", do_stop },
    { "signal", do_signal },   { "exit", do_exit },     { "until", do_until },
};

static void
do_word(const char *word)
{
    const char *value = strchr(word, '=');
    size_t len = value ? (size_t)(value - word) : strlen(word);
    size_t i;

    for (i = 0; i < ARRAY_SIZE(words); i++) {
        if (strlen(words[i].name) == len &&
            !strncmp(words[i].name, word, len)) {
            words[i].fn(value ? value + 1 : NULL);
            return;
        }
    }
    exit(EXIT_TROUBLE);
}

static void
ignore(int number)
{
    (void)number;
}

int
main(int argc, char *argv[])
{
    int i;

    signal(SIGPIPE, ignore);
    if (libspawn__loop_new(&loop, NULL) ||
        libspawn__daemon_enter(&daemon_state, loop, on_told, NULL)) {
        return EXIT_TROUBLE;
    }
    for (i = 1; i < argc; i++) {
        do_word(argv[i]);
    }
    return 0;
}
