/*
 * Messages that carry descriptors: what wire/stream promises about pairs,
 * sending and receiving.  Listening and connecting: test_stream_names.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/auto.h"
#include "tests/lib/harness.h"
#include "wire/stream.h"

/* A pair, closed at the end of the test. */
struct pair {
    int fds[2];
};

static void
pair_dispose(struct pair *pair)
{
    libspawn__auto_close(&pair->fds[0]);
    libspawn__auto_close(&pair->fds[1]);
}
#define AUTO_PAIR AUTO(pair_dispose)

static struct pair
new_pair(bool nonblocking)
{
    struct pair pair;
    struct libspawn_err err;

    assert_ok(libspawn__stream_pair(nonblocking, pair.fds, &err), &err);
    return pair;
}

static bool
is_cloexec(int fd)
{
    return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

/* Sends one byte with 'n_fds' descriptors, all of them the same one. */
static ssize_t
send_fds(int fd, size_t n_fds)
{
    int fds[LIBSPAWN__STREAM_FDS_MAX + 1];
    size_t i;

    for (i = 0; i < n_fds; i++) {
        fds[i] = fd;
    }
    return libspawn__stream_send(fd, "x", 1, fds, n_fds);
}

TEST(stream_pair__is_close_on_exec_and_blocks_as_asked)
{
    AUTO_PAIR struct pair blocking = new_pair(false);
    AUTO_PAIR struct pair nonblocking = new_pair(true);

    ck_assert(is_cloexec(blocking.fds[0]) && is_cloexec(blocking.fds[1]));
    ck_assert(!(fcntl(blocking.fds[0], F_GETFL) & O_NONBLOCK));
    ck_assert(fcntl(nonblocking.fds[1], F_GETFL) & O_NONBLOCK);
}

TEST(stream_two_messages__keep_their_boundaries)
{
    AUTO_PAIR struct pair pair = new_pair(false);
    char bytes[16];
    size_t n_fds = 0;

    ck_assert_int_eq(libspawn__stream_send(pair.fds[0], "one", 3, NULL, 0), 3);
    ck_assert_int_eq(libspawn__stream_send(pair.fds[0], "four", 4, NULL, 0),
                     4);
    ck_assert_int_eq(
        libspawn__stream_recv(pair.fds[1], bytes, sizeof bytes, NULL, &n_fds),
        3);
    ck_assert_mem_eq(bytes, "one", 3);
    ck_assert_int_eq(
        libspawn__stream_recv(pair.fds[1], bytes, sizeof bytes, NULL, &n_fds),
        4);
    ck_assert_mem_eq(bytes, "four", 4);
}

TEST(stream_message_with_descriptors__arrive_close_on_exec)
{
    AUTO_PAIR struct pair pair = new_pair(false);
    AUTO_PAIR struct pair inner = new_pair(false);
    AUTO_PAIR struct pair arrived = { { -1, -1 } };
    size_t n_fds = 2;
    char byte;

    ck_assert_int_eq(libspawn__stream_send(pair.fds[0], "x", 1, inner.fds, 2),
                     1);
    ck_assert_int_eq(
        libspawn__stream_recv(pair.fds[1], &byte, 1, arrived.fds, &n_fds), 1);
    ck_assert_uint_eq(n_fds, 2);
    ck_assert(is_cloexec(arrived.fds[0]) && is_cloexec(arrived.fds[1]));

    /* They are the same sockets. */
    n_fds = 0;
    ck_assert_int_eq(libspawn__stream_send(arrived.fds[0], "y", 1, NULL, 0),
                     1);
    ck_assert_int_eq(
        libspawn__stream_recv(inner.fds[1], &byte, 1, NULL, &n_fds), 1);
    ck_assert_int_eq(byte, 'y');
}

TEST(stream_message_with_most_descriptors__arrives_whole)
{
    AUTO_PAIR struct pair pair = new_pair(false);
    int fds[LIBSPAWN__STREAM_FDS_MAX];
    size_t n_fds = LIBSPAWN__STREAM_FDS_MAX;
    char byte;
    size_t i;

    ck_assert_int_eq(send_fds(pair.fds[0], LIBSPAWN__STREAM_FDS_MAX), 1);
    ck_assert_int_eq(libspawn__stream_recv(pair.fds[1], &byte, 1, fds, &n_fds),
                     1);
    ck_assert_uint_eq(n_fds, LIBSPAWN__STREAM_FDS_MAX);
    for (i = 0; i < n_fds; i++) {
        close(fds[i]);
    }
}

TEST(stream_send_too_many_descriptors__is_refused)
{
    AUTO_PAIR struct pair pair = new_pair(false);

    ck_assert_int_eq(send_fds(pair.fds[0], LIBSPAWN__STREAM_FDS_MAX + 1),
                     -EINVAL);
}

/* An even and an odd number: room for a control message is rounded up to a
 * word, so one descriptor too many can slip in where one is expected. */
TEST(stream_recv_more_descriptors_than_room__gives_eproto_and_leaks_none)
{
    AUTO_PAIR struct pair pair = new_pair(false);
    size_t n_open = harness_count_fds(0);
    int fds[3];
    char byte;
    size_t room;

    for (room = 0; room < 3; room++) {
        size_t n_fds = room;

        ck_assert_int_eq(send_fds(pair.fds[0], room + 1), 1);
        ck_assert_int_eq(
            libspawn__stream_recv(pair.fds[1], &byte, 1, fds, &n_fds),
            -EPROTO);
        ck_assert_uint_eq(n_fds, room);
        ck_assert_uint_eq(harness_count_fds(0), n_open);
    }
}

TEST(stream_recv_message_larger_than_room__gives_eproto_and_leaks_none)
{
    AUTO_PAIR struct pair pair = new_pair(false);
    size_t n_open = harness_count_fds(0);
    size_t n_fds = 1;
    char bytes[3];
    int fd;

    ck_assert_int_eq(
        libspawn__stream_send(pair.fds[0], "four", 4, pair.fds, 1), 4);
    ck_assert_int_eq(
        libspawn__stream_recv(pair.fds[1], bytes, sizeof bytes, &fd, &n_fds),
        -EPROTO);
    ck_assert_uint_eq(harness_count_fds(0), n_open);
}

TEST(stream_recv_with_full_descriptor_table__gives_emfile_and_leaks_none)
{
    AUTO_PAIR struct pair pair = new_pair(false);
    size_t n_open = harness_count_fds(0);
    struct rlimit old;
    struct rlimit limit;
    AUTO_FD int next_free = open("/dev/null", O_RDONLY | O_CLOEXEC);
    size_t n_fds = 4;
    const char *preload = getenv("LD_PRELOAD");
    int fds[4];
    char byte;

    if (preload && strstr(preload, "vgpreload")) {
        TEST_SKIP("valgrind keeps RLIMIT_NOFILE to itself");
    }
    ck_assert_int_eq(send_fds(pair.fds[0], 4), 1);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    /* Room for two: the one that 'next_free' has, and one behind it. */
    limit = old;
    limit.rlim_cur = (rlim_t)next_free + 2;
    libspawn__auto_close(&next_free);
    next_free = -1;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(libspawn__stream_recv(pair.fds[1], &byte, 1, fds, &n_fds),
                     -EMFILE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    ck_assert_uint_eq(harness_count_fds(0), n_open);
}

TEST(stream_send_to_closed_peer__gives_epipe_without_sigpipe)
{
    AUTO_PAIR struct pair pair = new_pair(false);

    libspawn__auto_close(&pair.fds[1]);
    pair.fds[1] = -1;
    ck_assert_int_eq(libspawn__stream_send(pair.fds[0], "x", 1, NULL, 0),
                     -EPIPE);
}

TEST(stream_send_of_nothing__is_refused)
{
    AUTO_PAIR struct pair pair = new_pair(false);

    ck_assert_int_eq(libspawn__stream_send(pair.fds[0], "", 0, NULL, 0),
                     -EINVAL);
}

TEST(stream_recv_from_nonblocking_empty_pair__gives_eagain)
{
    AUTO_PAIR struct pair pair = new_pair(true);
    size_t n_fds = 0;
    char byte;

    ck_assert_int_eq(
        libspawn__stream_recv(pair.fds[0], &byte, 1, NULL, &n_fds), -EAGAIN);
}

/* The kernel reports ECONNRESET ahead of the queued message here; a watcher's
 * last words would be lost. */
TEST(stream_recv_after_peer_left_without_reading__gives_its_last_message)
{
    AUTO_PAIR struct pair pair = new_pair(false);
    size_t n_fds = 1;
    char byte;
    int fd;

    ck_assert_int_eq(libspawn__stream_send(pair.fds[0], "x", 1, NULL, 0), 1);
    ck_assert_int_eq(libspawn__stream_send(pair.fds[1], "y", 1, NULL, 0), 1);
    libspawn__auto_close(&pair.fds[1]);
    pair.fds[1] = -1;
    ck_assert_int_eq(libspawn__stream_recv(pair.fds[0], &byte, 1, &fd, &n_fds),
                     1);
    ck_assert_int_eq(byte, 'y');
    ck_assert_uint_eq(n_fds, 0);
    ck_assert_int_eq(libspawn__stream_recv(pair.fds[0], &byte, 1, &fd, &n_fds),
                     0);
}

static int sigalrm_fd = -1;

static void
send_at_second_signal(int signal_number)
{
    static int n_signals;

    (void)signal_number;
    if (++n_signals == 2) {
        libspawn__stream_send(sigalrm_fd, "x", 1, NULL, 0);
    }
}

TEST(stream_recv_interrupted_by_a_signal__goes_on_waiting)
{
    AUTO_PAIR struct pair pair = new_pair(false);
    struct sigaction action = { .sa_handler = send_at_second_signal };
    struct itimerval timer = { .it_value.tv_usec = 5000,
                               .it_interval.tv_usec = 5000 };
    size_t n_fds = 0;
    char byte;

    sigalrm_fd = pair.fds[0];
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &timer, NULL), 0);
    ck_assert_int_eq(
        libspawn__stream_recv(pair.fds[1], &byte, 1, NULL, &n_fds), 1);
    memset(&timer, 0, sizeof timer);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

TEST_MAIN("stream")
