/*
 * Messages that carry descriptors.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/stream.h"

enum {
    KERNEL_FDS_MAX = 253, /* SCM_MAX_FD, which no public header has */
    SEND_CONTROL_SIZE = CMSG_SPACE(LIBSPAWN__STREAM_FDS_MAX * sizeof(int)),
    /* So large that whatever the kernel hands over fits: truncation would
     * then only mean that our descriptor table is full. */
    RECV_CONTROL_SIZE = CMSG_SPACE(KERNEL_FDS_MAX * sizeof(int)) +
                        CMSG_SPACE(sizeof(struct ucred))
};

ssize_t
libspawn__stream_send_parts(int fd, const struct iovec *parts, size_t n_parts,
                            const int *fds, size_t n_fds)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[SEND_CONTROL_SIZE];
    } control = { .bytes = { 0 } };
    /* The cast takes away a const that msghdr has no way to say. */
    struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)parts,
                              .msg_iovlen = n_parts };
    ssize_t n;

    /* An empty message would look like the end to the receiver. */
    if (!n_parts || !parts[0].iov_len || n_fds > LIBSPAWN__STREAM_FDS_MAX) {
        return -EINVAL;
    }
    if (n_fds) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(n_fds * sizeof *fds);
        memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof *fds);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof *fds);
    }
    do {
        n = sendmsg(fd, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t
libspawn__stream_send(int fd, const void *bytes, size_t size, const int *fds,
                      size_t n_fds)
{
    /* The cast takes away a const that iovec has no way to say. */
    const struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes,
                               .iov_len = size };

    return libspawn__stream_send_parts(fd, &iov, 1, fds, n_fds);
}

/* The descriptors of 'message', which may be more than the sender meant us to
 * have: all have to be found, so that all can be closed. */
static size_t
collect_fds(struct msghdr *message, int fds[KERNEL_FDS_MAX])
{
    size_t n_fds = 0;
    struct cmsghdr *header;

    for (header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        size_t size = header->cmsg_len - CMSG_LEN(0);

        if (header->cmsg_level == SOL_SOCKET &&
            header->cmsg_type == SCM_RIGHTS) {
            memcpy(fds + n_fds, CMSG_DATA(header), size);
            n_fds += size / sizeof *fds;
        }
    }
    return n_fds;
}

static void
close_all(const int *fds, size_t n_fds)
{
    size_t i;

    for (i = 0; i < n_fds; i++) {
        close(fds[i]);
    }
}

ssize_t
libspawn__stream_recv(int fd, void *bytes, size_t size, int *fds,
                      size_t *n_fds_r)
{
    union {
        struct cmsghdr header;
        char bytes[RECV_CONTROL_SIZE];
    } control;
    struct iovec iov = { .iov_base = bytes, .iov_len = size };
    struct msghdr message;
    int received[KERNEL_FDS_MAX];
    size_t n_received;
    int error = 0;
    ssize_t n;

    /* ECONNRESET is how the kernel says, once, that the peer closed without
     * reading all of ours.  What it sent before is still to be read. */
    do {
        message = (struct msghdr){ .msg_iov = &iov,
                                   .msg_iovlen = 1,
                                   .msg_control = &control,
                                   .msg_controllen = sizeof control };
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n < 0) {
        return -errno;
    }
    n_received = collect_fds(&message, received);
    if (message.msg_flags & MSG_TRUNC || n_received > *n_fds_r) {
        error = -EPROTO;
    } else if (message.msg_flags & MSG_CTRUNC) {
        error = -EMFILE;
    }
    if (error) {
        close_all(received, n_received);
        return error;
    }
    if (n_received) {
        memcpy(fds, received, n_received * sizeof *fds);
    }
    *n_fds_r = n_received;
    return n;
}

/* 0: nobody that can be seen from here. */
static pid_t
find_sender(struct msghdr *message)
{
    struct cmsghdr *header;
    struct ucred sender = { 0 };

    for (header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level == SOL_SOCKET &&
            header->cmsg_type == SCM_CREDENTIALS &&
            header->cmsg_len == CMSG_LEN(sizeof sender)) {
            memcpy(&sender, CMSG_DATA(header), sizeof sender);
        }
    }
    return sender.pid;
}

ssize_t
libspawn__stream_recv_letter(int fd, void *bytes, size_t size, pid_t *sender_r)
{
    union {
        struct cmsghdr header;
        char bytes[RECV_CONTROL_SIZE];
    } control;
    struct iovec iov = { .iov_base = bytes, .iov_len = size };
    struct msghdr message;
    int received[KERNEL_FDS_MAX];
    ssize_t n;

    do {
        message = (struct msghdr){ .msg_iov = &iov,
                                   .msg_iovlen = 1,
                                   .msg_control = &control,
                                   .msg_controllen = sizeof control };
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    close_all(received, collect_fds(&message, received));
    if (message.msg_flags & MSG_TRUNC) {
        return -EPROTO;
    }
    *sender_r = find_sender(&message);
    return n;
}
