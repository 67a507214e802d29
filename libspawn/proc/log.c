#include "proc/log.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/utf8.h"
#include "base/util.h"

enum {
    RING_SIZE = LIBSPAWN__TAIL_SIZE,
    LOG_MODE = 0640
};

static void
name_generation(const struct libspawn__log *log, unsigned int n,
                char path[PATH_MAX])
{
    if (n) {
        snprintf(path, PATH_MAX, "%s.%u", log->path, n);
    } else {
        snprintf(path, PATH_MAX, "%s", log->path);
    }
}

/* PATH.n-1 becomes PATH.n, ..., PATH becomes PATH.1, where PATH.n is the first
 * that is missing, or the last that is kept. */
static void
shift_generations(const struct libspawn__log *log)
{
    char from[PATH_MAX];
    char to[PATH_MAX];
    unsigned int n = 0;

    do {
        name_generation(log, ++n, to);
    } while (n < log->n_old && !access(to, F_OK));
    for (; n >= 1; n--) {
        name_generation(log, n - 1, from);
        name_generation(log, n, to);
        /* What cannot be renamed is lost, which is better than to stop. */
        rename(from, to);
    }
}

static int
open_file(struct libspawn__log *log)
{
    struct stat st;

    if (!stat(log->path, &st) && S_ISREG(st.st_mode) && st.st_size) {
        shift_generations(log);
    }
    log->fd = open(log->path,
                   O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC |
                       O_NOFOLLOW | O_NONBLOCK,
                   LOG_MODE);
    log->size = 0;
    return log->fd < 0 ? -errno : 0;
}

/* Everything but the file. */
static int
init_log(struct libspawn__log *log, const char *path, uint64_t max_size,
         unsigned int n_old, struct libspawn_err *err)
{
    *log = (struct libspawn__log){ .max_size = MAX(max_size, 1),
                                   .n_old = n_old,
                                   .fd = -1 };
    log->ring = malloc(RING_SIZE);
    if (!log->ring) {
        return libspawn__fail_nomem(err);
    }
    if (path && strlen(path) + sizeof ".4294967295" > PATH_MAX) {
        return libspawn__fail(err, LIBSPAWN_ERR_INVALID,
                              "the log's path is too long");
    }
    return libspawn__str_assign(&log->path, path, err);
}

int
libspawn__log_open(struct libspawn__log *log, const char *path,
                   uint64_t max_size, unsigned int n_old,
                   struct libspawn_err *err)
{
    int rc = init_log(log, path, max_size, n_old, err);
    int r = !rc && path ? open_file(log) : 0;

    return r ? libspawn__fail_errno(err, -r, "opening the log '%s'", path)
             : rc;
}

void
libspawn__log_save(const struct libspawn__log *log,
                   struct libspawn__log_state *state_r)
{
    *state_r = (struct libspawn__log_state){
        .size = log->size,
        .lost = log->lost,
        .lost_errno = log->lost_errno,
        .ring_end = log->ring_end,
        .ring_is_full = log->ring_is_full,
        .is_mid_line = log->is_mid_line,
    };
    memcpy(state_r->ring, log->ring,
           log->ring_is_full ? RING_SIZE : log->ring_end);
}

int
libspawn__log_resume(struct libspawn__log *log, const char *path,
                     uint64_t max_size, unsigned int n_old, int fd,
                     const struct libspawn__log_state *state,
                     struct libspawn_err *err)
{
    int rc = init_log(log, path, max_size, n_old, err);

    log->fd = fd;
    if (rc) {
        return rc;
    }
    if (state->ring_end >= RING_SIZE) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "the log's state makes no sense");
    }
    log->size = state->size;
    log->lost = state->lost;
    log->lost_errno = state->lost_errno;
    log->ring_end = state->ring_end;
    log->ring_is_full = state->ring_is_full;
    log->is_mid_line = state->is_mid_line;
    memcpy(log->ring, state->ring, RING_SIZE);
    return 0;
}

void
libspawn__log_close(struct libspawn__log *log)
{
    libspawn__auto_close(&log->fd);
    free(log->path);
    free(log->ring);
    *log = (struct libspawn__log){ .fd = -1 };
}

static void
write_ring(struct libspawn__log *log, const char *bytes, size_t size)
{
    if (size >= RING_SIZE) {
        bytes += size - RING_SIZE;
        size = RING_SIZE;
    }
    while (size) {
        size_t n = MIN(size, RING_SIZE - log->ring_end);

        memcpy(log->ring + log->ring_end, bytes, n);
        bytes += n;
        size -= n;
        log->ring_end += n;
        if (log->ring_end == RING_SIZE) {
            log->ring_end = 0;
            log->ring_is_full = true;
        }
    }
}

/* A file with room for 'size' more bytes; 0 or -errno. */
static int
make_room(struct libspawn__log *log, size_t size)
{
    if (log->fd >= 0 && log->size + size <= log->max_size) {
        return 0;
    }
    libspawn__auto_close(&log->fd);
    log->fd = -1;
    return open_file(log);
}

/* Returns how many of at most 'size' bytes were written, or -errno.  A part is
 * what a disk takes that is full behind it. */
static ssize_t
write_part(struct libspawn__log *log, const char *bytes, size_t size)
{
    size_t part = (size_t)MIN((uint64_t)size, log->max_size);
    int r = make_room(log, part);
    ssize_t n;

    if (r) {
        return r;
    }
    do {
        n = write(log->fd, bytes, part);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    log->size += (uint64_t)n;
    return n;
}

static void
lose(struct libspawn__log *log, size_t size, int sys_errno)
{
    log->lost += size;
    log->lost_errno = sys_errno;
}

/* What cannot be written is not tried again, but the next bytes are. */
static void
write_file(struct libspawn__log *log, const char *bytes, size_t size)
{
    while (size) {
        ssize_t n = write_part(log, bytes, size);

        if (n <= 0) {
            lose(log, size, n ? (int)-n : ENOSPC);
            return;
        }
        bytes += n;
        size -= (size_t)n;
    }
}

/* ---- Time stamps ------------------------------------------------------- */

/* "2026-11-21T12:34:56.789Z " */
enum {
    STAMP_SIZE = LIBSPAWN__CLOCK_TEXT_SIZE + 1
};

/* Empty in a log without. */
static void
make_stamp(const struct libspawn__log *log, char stamp[STAMP_SIZE])
{
    stamp[0] = '\0';
    if (log->is_stamped) {
        libspawn__clock_format(libspawn__clock_realtime_ms(), stamp);
        stamp[STAMP_SIZE - 2] = ' ';
        stamp[STAMP_SIZE - 1] = '\0';
    }
}

/* What goes to the file in one write. */
struct block {
    char bytes[4096];
    size_t size;
};

static void
flush_block(struct libspawn__log *log, struct block *block)
{
    write_file(log, block->bytes, block->size);
    block->size = 0;
}

static void
add_to_block(struct libspawn__log *log, struct block *block, const char *bytes,
             size_t size)
{
    while (size) {
        size_t n = MIN(size, sizeof block->bytes - block->size);

        memcpy(block->bytes + block->size, bytes, n);
        block->size += n;
        bytes += n;
        size -= n;
        if (block->size == sizeof block->bytes) {
            flush_block(log, block);
        }
    }
}

/* All that arrives at once has one time.  A line that fits into a block is
 * never in two, so that a new file begins with a stamp, too. */
static void
write_stamped(struct libspawn__log *log, const char *bytes, size_t size)
{
    struct block block;
    char stamp[STAMP_SIZE];

    block.size = 0;
    make_stamp(log, stamp);
    while (size) {
        const char *newline = memchr(bytes, '\n', size);
        size_t n = newline ? (size_t)(newline - bytes) + 1 : size;

        if (block.size + strlen(stamp) + n > sizeof block.bytes) {
            flush_block(log, &block);
        }
        if (!log->is_mid_line) {
            add_to_block(log, &block, stamp, strlen(stamp));
        }
        add_to_block(log, &block, bytes, n);
        log->is_mid_line = !newline;
        bytes += n;
        size -= n;
    }
    flush_block(log, &block);
}

/* ---- What is written --------------------------------------------------- */

/* False when there is no room for it, so none for anything else. */
static bool
tell_loss(struct libspawn__log *log)
{
    char stamp[STAMP_SIZE];
    char line[160];
    int len;

    if (!log->lost) {
        return true;
    }
    make_stamp(log, stamp);
    len = snprintf(line, sizeof line,
                   "\n%sspawn-watcher: %llu bytes of output are lost: %.60s\n",
                   stamp, (unsigned long long)log->lost,
                   libspawn__errno_text(log->lost_errno));
    if (write_part(log, line, (size_t)len) <
        (ssize_t)MIN((uint64_t)len, log->max_size)) {
        return false;
    }
    log->lost = 0;
    log->is_mid_line = false;
    return true;
}

static void
put(struct libspawn__log *log, const char *bytes, size_t size)
{
    if (!log->path || !size) {
        return;
    }
    if (!tell_loss(log)) {
        lose(log, size, log->lost_errno);
    } else if (log->is_stamped) {
        write_stamped(log, bytes, size);
    } else {
        write_file(log, bytes, size);
    }
    log->is_mid_line = bytes[size - 1] != '\n';
}

void
libspawn__log_note(struct libspawn__log *log, const char *bytes, size_t size)
{
    if (log->is_mid_line) {
        put(log, "\n", 1);
    }
    put(log, bytes, size);
}

void
libspawn__log_write(struct libspawn__log *log, const char *bytes, size_t size)
{
    write_ring(log, bytes, size);
    put(log, bytes, size);
}

/* The ring in order, without the partial line that was overwritten. */
static size_t
unroll_ring(const struct libspawn__log *log, char *text)
{
    size_t size = log->ring_end;
    char *newline;

    if (!log->ring_is_full) {
        memcpy(text, log->ring, size);
        return size;
    }
    memcpy(text, log->ring + log->ring_end, RING_SIZE - log->ring_end);
    memcpy(text + RING_SIZE - log->ring_end, log->ring, log->ring_end);
    newline = memchr(text, '\n', RING_SIZE);
    if (newline && newline + 1 < text + RING_SIZE) {
        size = RING_SIZE - (size_t)(newline + 1 - text);
        memmove(text, newline + 1, size);
        return size;
    }
    return RING_SIZE;
}

/* Where the last lines begin: behind the newline before them. */
static size_t
find_last_lines(const char *text, size_t size, size_t max_size)
{
    size_t lowest = size > max_size ? size - max_size : 0;
    unsigned int n_lines = 0;
    size_t i = size;

    /* The newline that ends the last line does not begin another. */
    if (i > lowest && text[i - 1] == '\n') {
        i--;
    }
    while (i > lowest) {
        if (text[i - 1] == '\n' && ++n_lines == LIBSPAWN__TAIL_LINES) {
            break;
        }
        i--;
    }
    return i;
}

size_t
libspawn__log_copy_tail(const struct libspawn__log *log, char *buffer,
                        size_t size)
{
    char text[RING_SIZE];
    size_t text_size = unroll_ring(log, text);
    size_t begin = find_last_lines(text, text_size, size - 2);
    size_t n = text_size - begin;

    memcpy(buffer, text + begin, n);
    libspawn__utf8_make_printable(buffer, n, "\n\t");
    if (n && buffer[n - 1] != '\n') {
        buffer[n++] = '\n';
    }
    buffer[n] = '\0';
    return n;
}
