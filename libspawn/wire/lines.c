#include "wire/lines.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"

/* A long line is read in larger and larger bites. */
enum {
    READ_MIN = 4 * 1024,
    READ_MAX = 64 * 1024
};

void
libspawn__lines_dispose(struct libspawn__lines *lines)
{
    libspawn__buf_dispose(&lines->input);
    lines->start = lines->searched = 0;
}

/* Forgets the lines that were returned. */
static void
forget(struct libspawn__lines *lines)
{
    if (lines->start == lines->input.size) {
        libspawn__lines_dispose(lines);
    } else {
        libspawn__buf_consume(&lines->input, lines->start);
        lines->searched -= lines->start;
        lines->start = 0;
    }
}

static int
receive(struct libspawn__lines *lines, int fd, struct libspawn_err *err)
{
    struct libspawn__buf *input = &lines->input;
    size_t size = MIN(MAX(input->size, READ_MIN), READ_MAX);
    ssize_t n;

    if (!libspawn__buf_reserve(input, size)) {
        return libspawn__fail_nomem(err);
    }
    n = recv(fd, input->data + input->size, size, 0);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR
                   ? 0
                   : libspawn__fail_errno(err, errno, "reading from %s",
                                          lines->peer);
    }
    if (!n) {
        return libspawn__fail(
            err, LIBSPAWN_ERR_GONE, "%s closed the connection%s", lines->peer,
            input->size ? " in the middle of a message" : "");
    }
    input->size += (size_t)n;
    input->data[input->size] = '\0';
    return 0;
}

int
libspawn__lines_receive(struct libspawn__lines *lines, int fd,
                        struct libspawn_err *err)
{
    int rc = receive(lines, fd, err);

    if (!lines->input.size) {
        libspawn__lines_dispose(lines);
    }
    return rc;
}

static int
check_size(const struct libspawn__lines *lines, size_t size,
           struct libspawn_err *err)
{
    return size > LIBSPAWN__LINE_MAX
               ? libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                                "a message from %s is longer than %d bytes",
                                lines->peer, LIBSPAWN__LINE_MAX)
               : 0;
}

int
libspawn__lines_next(struct libspawn__lines *lines, const char **line_r,
                     size_t *size_r, struct libspawn_err *err)
{
    const struct libspawn__buf *input = &lines->input;
    size_t n_new = input->size - lines->searched;
    const char *end =
        n_new ? memchr(input->data + lines->searched, '\n', n_new) : NULL;
    size_t end_at = end ? (size_t)(end - input->data) : input->size;
    int rc = check_size(lines, end_at - lines->start, err);

    if (rc) {
        return rc;
    }
    if (end) {
        *line_r = input->data + lines->start;
        *size_r = end_at - lines->start;
        lines->start = lines->searched = end_at + 1;
    } else {
        *line_r = NULL;
        lines->searched = end_at;
        forget(lines);
    }
    return 0;
}
