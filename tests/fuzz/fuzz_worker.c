/*
 * What a worker says to the main process, in any order and shape.  The input
 * is a row of messages: a byte of flags, a byte with the size, and so many
 * bytes, which are sent as they are or become parts of a header.
 *
 * The spawn hook starts nothing and keeps the worker's end of the socket; the
 * number that it tells is above those that processes can have.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/util.h"
#include "proc/worker_parts.h"
#include "wire/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FLAG_HEADER = 1, /* a good header in front, as if for the first request */
    FLAG_DONE = 2,   /* of this kind */
    FLAG_FD = 4,     /* a descriptor travels along */
    FLAG_COUNTED = 8, /* and the header says so */
    FLAG_ASK = 16,   /* the main process asks for something meanwhile */
    FLAG_ORDER = 32,
    FLAG_CLOSE = 64, /* the worker ends */
    NOBODY = 0x3fffff00,
    TYPE = LIBSPAWN__WORKER_TRIAL,
    N_TURNS = 3
};

static int worker_fd = -1;
static uint64_t n_asked;   /* requests, not orders */
static uint64_t n_replies; /* to them */

static void
must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static int
keep_socket(void *user, const char *path, char *const argv[],
            char *const envp[], int fd, pid_t *pid_r)
{
    (void)user;
    (void)path;
    (void)argv;
    (void)envp;
    libspawn__auto_close(&worker_fd);
    worker_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    *pid_r = NOBODY;
    return 0;
}

/* Each once, in their order. */
static void
on_reply(struct libspawn__worker *worker, struct libspawn__worker_reply *reply,
         void *user)
{
    (void)worker;
    must((uintptr_t)user == n_replies);
    must(reply->code <= 0 && !reply->code == !reply->err);
    must(!reply->data || !reply->data[reply->size]);
    n_replies++;
    must(n_replies <= n_asked);
}

static void
ask(struct libspawn__worker *worker, unsigned int flags)
{
    char text[] = "text";
    const struct iovec iov = { text, sizeof text };
    const int fd = worker_fd;
    const struct libspawn__worker_request request = {
        .type = TYPE,
        .iov = &iov,
        .n_iov = 1,
        .fds = &fd,
        .n_fds = flags & FLAG_FD && fd >= 0,
        .fn = flags & FLAG_ORDER ? NULL : on_reply,
        .user = (void *)(uintptr_t)n_asked,
    };

    if (!libspawn__worker_request(worker, &request, NULL) && request.fn) {
        n_asked++;
    }
}

/* Returns how many bytes of the input this took. */
static size_t
send_message(const struct libspawn__worker *worker, const uint8_t *data,
             size_t size)
{
    unsigned int flags = data[0];
    size_t n = MIN(size - 2, (size_t)data[1]);
    const struct libspawn__worker_header header = {
        .magic = LIBSPAWN__WORKER_MAGIC,
        .kind = flags & FLAG_DONE ? LIBSPAWN__WORKER_DONE
                                  : LIBSPAWN__WORKER_REPLY,
        .n_fds = !!(flags & FLAG_COUNTED),
        .type = TYPE,
        .size = (uint32_t)n,
        .sequence = libspawn__worker_first(worker),
    };
    AUTO_FD int fd = flags & FLAG_FD ? eventfd(0, EFD_CLOEXEC) : -1;
    char bytes[sizeof header + 255];
    size_t at = 0;

    if (flags & FLAG_HEADER) {
        memcpy(bytes, &header, sizeof header);
        at = sizeof header;
    }
    memcpy(bytes + at, data + 2, n);
    if (worker_fd >= 0 && at + n) {
        libspawn__stream_send(worker_fd, bytes, at + n, &fd, fd >= 0);
    }
    return 2 + n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct libspawn_hooks hooks = { .spawn = keep_socket };
    const struct libspawn_ctx_options ctx_options = { .hooks = &hooks };
    const struct libspawn__worker_options options = {
        .program = "/bin/true", .class = "trial", .guest = "tale"
    };
    struct libspawn__worker *worker;
    struct libspawn_ctx *ctx;
    int i;

    n_asked = n_replies = 0;
    must(!libspawn_ctx_new(&ctx_options, &ctx, NULL));
    must(!libspawn__worker_new(ctx, &options, &worker, NULL));
    ask(worker, 0);
    while (size > 2) {
        unsigned int flags = data[0];
        size_t n = send_message(worker, data, size);

        if (flags & FLAG_CLOSE) {
            libspawn__auto_close(&worker_fd);
            worker_fd = -1;
        }
        if (flags & FLAG_ASK) {
            ask(worker, flags);
        }
        for (i = 0; i < N_TURNS; i++) {
            must(!libspawn_ctx_dispatch(ctx, NULL));
        }
        data += n;
        size -= n;
    }
    libspawn__auto_close(&worker_fd);
    worker_fd = -1;
    libspawn__worker_free(worker);
    libspawn_ctx_free(ctx);
    return 0;
}
