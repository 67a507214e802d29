/*
 * What a watcher says to its caller, in any order and shape.  The input is a
 * row of messages: a byte of flags, a byte with the size (in units of four),
 * and so many bytes, which become the beginning of a message.
 *
 * The spawn hook starts nothing and keeps the watcher's end of the socket; the
 * process that is watched is a child that sleeps.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/util.h"
#include "include/libspawn.h"
#include "proc/protocol.h"
#include "wire/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FLAG_HEADER = 1,  /* a good version in front */
    FLAG_FD = 2,      /* a descriptor travels along */
    FLAG_TAIL = 4,    /* the whole structure is sent, not the part */
    FLAG_CONFIRM = 8, /* the caller does something meanwhile */
    FLAG_STOP = 16,
    N_TURNS = 3
};

static pid_t sleeper = -1;
static int watcher_fd = -1;

static void
must(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* It ends with us, and holds nothing open until then. */
static pid_t
start_sleeper(void)
{
    pid_t pid = fork();

    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close_range(0, ~0U, 0);
        for (;;) {
            pause();
        }
    }
    must(pid > 0);
    return pid;
}

static int
keep_socket(void *user, const char *path, char *const argv[],
            char *const envp[], int fd, pid_t *pid_r)
{
    (void)user;
    (void)path;
    (void)argv;
    (void)envp;
    if (sleeper < 0) {
        sleeper = start_sleeper();
    }
    watcher_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    *pid_r = sleeper;
    return 0;
}

static void
count_event(struct libspawn_child *child, enum libspawn_event event,
            void *user)
{
    unsigned int *n_ends = user;
    char *json = libspawn_report_json(libspawn_child_report(child));

    must(json != NULL);
    free(json);
    *n_ends += event >= LIBSPAWN_EVENT_FAILED;
    must(*n_ends <= 1);
}

static void
act(struct libspawn_child *child, unsigned int flags)
{
    if (flags & FLAG_CONFIRM) {
        libspawn_child_confirm(child);
    }
    if (flags & FLAG_STOP) {
        libspawn_child_stop(child);
    }
    libspawn_child_check(child, NULL);
}

/* Returns how many bytes of the input this took. */
static size_t
send_message(const uint8_t *data, size_t size)
{
    struct libspawn__watcher_message message = { 0 };
    unsigned int flags = data[0];
    size_t n = MIN(MIN(size - 2, (size_t)data[1] * 4), sizeof message);
    size_t header = flags & FLAG_HEADER ? sizeof message.version : 0;
    size_t sent = flags & FLAG_TAIL ? sizeof message : n;
    /* Like the pidfd of a process that has ended it is readable: nobody waits
     * for another end. */
    int fd = flags & FLAG_FD ? eventfd(1, EFD_CLOEXEC) : -1;

    memcpy((char *)&message + header, data + 2,
           MIN(n, sizeof message - header));
    if (header) {
        message.version = LIBSPAWN__WATCHER_VERSION;
        sent = MAX(sent, offsetof(struct libspawn__watcher_message, tail));
    }
    libspawn__stream_send(watcher_fd, &message, sent, &fd, fd >= 0);
    libspawn__auto_close(&fd);
    return 2 + n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct libspawn_hooks hooks = { .spawn = keep_socket };
    const struct libspawn_ctx_options options = { .watcher_path = "/bin/true",
                                                  .hooks = &hooks };
    struct libspawn_plan *plan = libspawn_plan_new();
    struct libspawn_child *child;
    struct libspawn_ctx *ctx;
    unsigned int n_ends = 0;

    must(plan != NULL);
    must(!libspawn_ctx_new(&options, &ctx, NULL));
    libspawn_plan_set_program(plan, "/bin/true");
    libspawn_plan_add_arg(plan, "true");
    must(!libspawn_child_start(ctx, plan, count_event, &n_ends, &child, NULL));
    while (size > 2) {
        unsigned int flags = data[0];
        size_t n = send_message(data, size);
        int i;

        act(child, flags);
        for (i = 0; i < N_TURNS; i++) {
            must(!libspawn_ctx_dispatch(ctx, NULL));
        }
        data += n;
        size -= n;
    }
    libspawn__auto_close(&watcher_fd);
    libspawn_child_free(child);
    libspawn_plan_free(plan);
    libspawn_ctx_free(ctx);
    return 0;
}
