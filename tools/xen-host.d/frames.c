/* frames - see frames.h */

#define _GNU_SOURCE
#include "frames.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

bool
write_all(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;

    while (size > 0) {
        ssize_t n = write(fd, at, size);

        if (n >= 0) {
            at += n;
            size -= (size_t)n;
        } else if (errno == EAGAIN) {
            poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

bool
frame_send(int fd, enum frame_type type, const void *payload, size_t size)
{
    unsigned char bytes[FRAME_HEAD + FRAME_MAX];

    if (size > FRAME_MAX)
        return false;
    bytes[0] = (unsigned char)type;
    for (int i = 0; i < 4; i++)
        bytes[1 + i] = (unsigned char)(size >> (8 * i));
    if (size > 0)
        memcpy(bytes + FRAME_HEAD, payload, size);
    return write_all(fd, bytes, FRAME_HEAD + size);
}

static size_t
payload_size(const struct frame_reader *reader)
{
    size_t size = 0;

    for (int i = 0; i < 4; i++)
        size |= (size_t)reader->bytes[1 + i] << (8 * i);
    return size;
}

/* How long the reader's bytes must become for the next step: the head first,
 * then the frame. */
static size_t
wanted(const struct frame_reader *reader)
{
    if (reader->size < FRAME_HEAD)
        return FRAME_HEAD;
    return FRAME_HEAD + payload_size(reader);
}

bool
frame_receive(struct frame_reader *reader, int fd)
{
    ssize_t n;

    if (wanted(reader) == reader->size)
        reader->size = 0;
    if (wanted(reader) > sizeof reader->bytes)
        return false;
    n = read(fd, reader->bytes + reader->size, wanted(reader) - reader->size);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    reader->size += (size_t)n;
    return n > 0;
}

bool
frame_complete(struct frame_reader *reader, struct frame *frame_r)
{
    if (reader->size < FRAME_HEAD || wanted(reader) != reader->size)
        return false;
    frame_r->type = (enum frame_type)reader->bytes[0];
    frame_r->payload = reader->bytes + FRAME_HEAD;
    frame_r->size = payload_size(reader);
    return true;
}

/* A pipe that polls as writable takes PIPE_BUF bytes without blocking, even
 * where it is not ours to make it non-blocking. */
bool
pending_write(struct pending *pending)
{
    size_t size = pending->size < PIPE_BUF ? pending->size : PIPE_BUF;
    ssize_t n = write(pending->fd, pending->bytes, size);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n < 0) {
        pending->size = 0;
        return false;
    }
    pending->bytes += n;
    pending->size -= (size_t)n;
    return true;
}
