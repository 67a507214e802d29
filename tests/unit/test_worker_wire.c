/*
 * proc/worker_wire.c: messages, whole, in parts, and wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/util.h"
#include "proc/worker_wire.h"
#include "tests/lib/harness.h"
#include "wire/stream.h"

/* A reader and who talks to it. */
struct line {
    int fd; /* the reader's, which does not block */
    int peer;
    struct libspawn__worker_reader reader;
    struct libspawn__worker_message message;
    struct libspawn_err err;
};

static struct line
begin(void)
{
    struct line line = { .fd = -1 };
    int fds[2];

    assert_ok(libspawn__stream_pair_of_bytes(fds, NULL), NULL);
    line.fd = fds[0];
    line.peer = fds[1];
    assert_ok(libspawn__fd_set_nonblocking(line.fd, true, NULL), NULL);
    return line;
}

static void
line_dispose(struct line *line)
{
    libspawn__worker_reader_dispose(&line->reader);
    libspawn__worker_message_dispose(&line->message);
    libspawn__auto_close(&line->fd);
    libspawn__auto_close(&line->peer);
}
#define AUTO_LINE AUTO(line_dispose)

static int
read_line(struct line *line)
{
    return libspawn__worker_reader_read(&line->reader, line->fd,
                                        &line->message, &line->err);
}

static struct libspawn__worker_header
header_of(size_t size, size_t n_fds)
{
    return (struct libspawn__worker_header){
        .magic = LIBSPAWN__WORKER_MAGIC,
        .kind = LIBSPAWN__WORKER_REQUEST,
        .type = 7,
        .size = (uint32_t)size,
        .n_fds = (uint16_t)n_fds,
        .sequence = 42,
    };
}

static void
send_bytes(struct line *line, const void *bytes, size_t size, const int *fds,
           size_t n_fds)
{
    ck_assert_int_eq(
        libspawn__stream_send(line->peer, bytes, size, fds, n_fds),
        (ssize_t)size);
}

/* Covers W17. */
TEST(reader_message_split_anywhere__is_read_the_same)
{
    static const char payload[] = "the payload";
    struct libspawn__worker_header header = header_of(sizeof payload, 1);
    char bytes[sizeof header + sizeof payload];
    const int fd = STDIN_FILENO;
    size_t split;

    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + sizeof header, payload, sizeof payload);
    for (split = 1; split < sizeof bytes; split++) {
        AUTO_LINE struct line line = begin();

        send_bytes(&line, bytes, split, &fd, 1);
        ck_assert_int_eq(read_line(&line), 0);
        send_bytes(&line, bytes + split, sizeof bytes - split, NULL, 0);
        ck_assert_int_eq(read_line(&line), 1);
        ck_assert(!memcmp(&line.message.header, &header, sizeof header));
        ck_assert_str_eq(line.message.data, payload);
        ck_assert_int_eq(fcntl(line.message.fds[0], F_GETFD), FD_CLOEXEC);
        ck_assert_int_eq(read_line(&line), 0);
    }
}

/* Covers W17. */
TEST(reader_byte_after_byte__gives_the_messages_one_by_one)
{
    AUTO_LINE struct line line = begin();
    int i;

    for (i = 0; i < 3; i++) {
        struct libspawn__worker_header header = header_of(1, 0);
        const char *bytes = (const char *)&header;
        size_t j;

        for (j = 0; j < sizeof header; j++) {
            send_bytes(&line, bytes + j, 1, NULL, 0);
            ck_assert_int_eq(read_line(&line), 0);
        }
        send_bytes(&line, "x", 1, NULL, 0);
        ck_assert_int_eq(read_line(&line), 1);
        ck_assert_str_eq(line.message.data, "x");
        libspawn__worker_message_dispose(&line.message);
    }
}

TEST(reader_several_at_once__keep_their_descriptors)
{
    AUTO_LINE struct line line = begin();
    size_t i;

    for (i = 0; i <= LIBSPAWN__WORKER_FDS_MAX; i++) {
        const int fds[LIBSPAWN__WORKER_FDS_MAX] = { 0, 1, 2, 0, 1, 2, 0, 1 };
        struct libspawn__worker_header header = header_of(2, i);

        ck_assert_int_eq(
            libspawn__worker_send(line.peer, &header, "ab", fds), 0);
    }
    for (i = 0; i <= LIBSPAWN__WORKER_FDS_MAX; i++) {
        ck_assert_int_eq(read_line(&line), 1);
        ck_assert_uint_eq(line.message.header.n_fds, i);
        libspawn__worker_message_dispose(&line.message);
    }
    ck_assert_int_eq(read_line(&line), 0);
}

TEST(reader_end_of_the_stream__tells_whether_a_message_is_cut)
{
    AUTO_LINE struct line line = begin();
    AUTO_LINE struct line cut = begin();

    close(TAKE_FD(line.peer));
    assert_code(read_line(&line), LIBSPAWN_ERR_GONE);
    ck_assert_uint_eq(line.reader.size, 0);
    send_bytes(&cut, "LW", 2, NULL, 0);
    close(TAKE_FD(cut.peer));
    assert_code(read_line(&cut), LIBSPAWN_ERR_GONE);
    ck_assert_uint_eq(cut.reader.size, 2);
}

/* ---- What is no message ------------------------------------------------ */

static void
expect_refusal(struct libspawn__worker_header header, size_t n_fds)
{
    AUTO_LINE struct line line = begin();
    const int fds[LIBSPAWN__STREAM_FDS_MAX] = { 0 };
    size_t n_before = harness_count_fds(0);

    send_bytes(&line, &header, sizeof header, fds, n_fds);
    assert_code(read_line(&line), LIBSPAWN_ERR_PROTOCOL);
    libspawn__worker_reader_dispose(&line.reader);
    ck_assert_uint_eq(harness_count_fds(0), n_before);
}

/* Covers W13. */
TEST(reader_wrong_header__is_refused)
{
    struct libspawn__worker_header header = header_of(0, 0);

    header.magic++;
    expect_refusal(header, 0);
    header = header_of(0, 0);
    header.kind = 0;
    expect_refusal(header, 0);
    header.kind = LIBSPAWN__WORKER_COMPLAINT + 1;
    expect_refusal(header, 0);
    header = header_of(LIBSPAWN__WORKER_SIZE_MAX + 1, 0);
    expect_refusal(header, 0);
    expect_refusal(header_of(UINT32_MAX, 0), 0);
}

/* Covers W13. */
TEST(reader_wrong_number_of_descriptors__is_refused_and_none_is_left)
{
    expect_refusal(header_of(0, 0), 1);
    expect_refusal(header_of(0, 3), 2);
    expect_refusal(header_of(0, 2), 0);
    expect_refusal(header_of(0, 9), 9);
    expect_refusal(header_of(0, UINT16_MAX), 8);
    expect_refusal(header_of(0, 0), LIBSPAWN__STREAM_FDS_MAX);
}

/* Covers W13. */
TEST(reader_descriptor_behind_the_first_byte__is_refused)
{
    AUTO_LINE struct line line = begin();
    struct libspawn__worker_header header = header_of(0, 1);
    const char *bytes = (const char *)&header;
    const int fd = STDIN_FILENO;
    size_t n_before = harness_count_fds(0);

    send_bytes(&line, bytes, 1, NULL, 0);
    ck_assert_int_eq(read_line(&line), 0);
    send_bytes(&line, bytes + 1, sizeof header - 1, &fd, 1);
    assert_code(read_line(&line), LIBSPAWN_ERR_PROTOCOL);
    ck_assert_uint_eq(harness_count_fds(0), n_before);
}

/* Covers W13. */
TEST(reader_table_of_descriptors_full__is_a_limit_and_none_is_left)
{
    AUTO_LINE struct line line = begin();
    struct libspawn__worker_header header = header_of(0, 2);
    const int fds[] = { STDIN_FILENO, STDOUT_FILENO };
    struct rlimit old;
    struct rlimit tight;

    send_bytes(&line, &header, sizeof header, fds, ARRAY_SIZE(fds));
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    tight = old;
    tight.rlim_cur = (rlim_t)line.peer + 2; /* room for one of two */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
    assert_code(read_line(&line), LIBSPAWN_ERR_LIMIT);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
}

TEST_MAIN("worker_wire")
