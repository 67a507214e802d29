/*
 * TCP streams by name, on loopback; and what is refused to whom.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/lib/harness.h"
#include "wire/stream.h"

static int
listen_on(const char *name)
{
    struct libspawn_err err;
    int fd = -1;

    assert_ok(libspawn__stream_listen_anywhere(name, 0, &fd, &err), &err);
    return fd;
}

static char *
name_of(int fd)
{
    struct libspawn_err err;
    char *name = NULL;

    assert_ok(libspawn__stream_bound_name(fd, &name, &err), &err);
    return name;
}

/* Its port, behind 'prefix'. */
static char *
with_port_of(const char *prefix, int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;

    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return libspawn__str_format("%s%u", prefix, ntohs(address.sin_port));
}

static int
accept_from(int listener)
{
    struct libspawn_err err;
    int fd = -1;

    ck_assert(harness_wait_readable(listener, 5000));
    assert_ok(libspawn__stream_accept(listener, &fd, &err), &err);
    return fd;
}

static bool
has_ipv6(void)
{
    struct libspawn_err err;
    int fd = -1;
    int rc = libspawn__stream_listen_anywhere("ptcp:0:[::1]", 0, &fd, &err);

    libspawn__auto_close(&fd);
    return !rc ||
           (err.sys_errno != EADDRNOTAVAIL && err.sys_errno != EAFNOSUPPORT);
}

/* ---- Listening --------------------------------------------------------- */

TEST(stream_ptcp_of_port_0__tells_the_port_on_loopback)
{
    AUTO_FD int listener = listen_on("ptcp:0");
    AUTO_FREE char *name = name_of(listener);

    assert_contains(name, "tcp:127.0.0.1:");
    ck_assert_str_ne(name, "tcp:127.0.0.1:0");
}

TEST(stream_ptcp_with_an_address__listens_there)
{
    AUTO_FD int listener = listen_on("ptcp:0:0.0.0.0");
    AUTO_FREE char *name = name_of(listener);

    assert_contains(name, "tcp:0.0.0.0:");
    if (has_ipv6()) {
        AUTO_FD int other = listen_on("ptcp:0:[::1]");
        AUTO_FREE char *other_name = name_of(other);

        assert_contains(other_name, "tcp:[::1]:");
    }
}

TEST(stream_ptcp_where_somebody_listens__exists)
{
    AUTO_FD int listener = listen_on("ptcp:0");
    AUTO_FREE char *again = with_port_of("ptcp:", listener);
    struct libspawn_err err;
    int fd;

    assert_code(libspawn__stream_listen_anywhere(again, 0, &fd, &err),
                LIBSPAWN_ERR_EXISTS);
    assert_contains(err.text, "listening on 'ptcp:");
}

TEST(stream_ptcp_after_connections__can_be_had_again_at_once)
{
    AUTO_FD int listener = listen_on("ptcp:0");
    AUTO_FREE char *name = name_of(listener);
    AUTO_FREE char *again = with_port_of("ptcp:", listener);
    AUTO_FD int client = -1;
    AUTO_FD int server = -1;
    AUTO_FD int next = -1;

    assert_ok(libspawn__stream_open(name, 5000, &client, NULL), NULL);
    server = accept_from(listener);
    libspawn__auto_close(&server);
    libspawn__auto_close(&listener);
    server = listener = -1;
    next = listen_on(again);
}

TEST(stream_ptcp_where_it_is_not_allowed__is_denied)
{
    struct libspawn_err err;
    int fd;

    assert_code(libspawn__stream_listen("ptcp:0", 0600, &fd, &err),
                LIBSPAWN_ERR_DENIED);
    assert_contains(err.text, "'ptcp:0'");
}

TEST(stream_bound_name_of_a_unix_socket__is_unsupported)
{
    int fds[2];
    char *name;

    assert_ok(libspawn__stream_pair(true, fds, NULL), NULL);
    assert_code(libspawn__stream_bound_name(fds[0], &name, NULL),
                LIBSPAWN_ERR_UNSUPPORTED);
    close(fds[0]);
    close(fds[1]);
}

/* ---- Names ------------------------------------------------------------- */

TEST(stream_tcp_name_that_is_malformed__is_invalid)
{
    static const char *const active[] = {
        "tcp:",
        "tcp:1",
        "tcp::1",
        "tcp:127.0.0.1",
        "tcp:127.0.0.1:",
        "tcp:127.0.0.1:0",
        "tcp:127.0.0.1:65536",
        "tcp:127.0.0.1:-1",
        "tcp:127.0.0.1:http",
        "tcp:1.2.3:1",
        "tcp:[::1]",
        "tcp:[::1:1",
        "tcp:[]:1",
        "tcp:localhost:1",
    };
    static const char *const passive[] = {
        "ptcp:",   "ptcp:x",           "ptcp:65536",  "ptcp:-1",
        "ptcp:1:", "ptcp:1:[]",        "ptcp:1:[::1", "ptcp:1:localhost",
        "ptcp::1", "ptcp:127.0.0.1:1",
    };
    size_t i;
    int fd = -1;

    for (i = 0; i < ARRAY_SIZE(active); i++) {
        assert_code(libspawn__stream_connect(active[i], &fd, NULL),
                    LIBSPAWN_ERR_INVALID);
    }
    for (i = 0; i < ARRAY_SIZE(passive); i++) {
        assert_code(libspawn__stream_listen_anywhere(passive[i], 0, &fd, NULL),
                    LIBSPAWN_ERR_INVALID);
    }
    ck_assert_int_eq(fd, -1);
}

/* Covers S11. */
TEST(stream_number_from_a_file_or_a_request__is_denied)
{
    static const struct {
        const char *name;
        int code;
    } cases[] = {
        { "pfd:3", LIBSPAWN_ERR_DENIED },
        { "fd:3", LIBSPAWN_ERR_DENIED },
        { "pfd:", LIBSPAWN_ERR_DENIED },
        { "unix:s", LIBSPAWN_OK },
        { "punix:s", LIBSPAWN_OK },
        { "tcp:127.0.0.1:1", LIBSPAWN_OK },
        { "tcp:host.example:1", LIBSPAWN_OK },
        { "ptcp:0", LIBSPAWN_OK },
        { "ptcp:1:[::1]", LIBSPAWN_OK },
        { "PFD:3", LIBSPAWN_ERR_UNSUPPORTED },
        { "", LIBSPAWN_ERR_UNSUPPORTED },
        { "unix:", LIBSPAWN_ERR_INVALID },
        { "punix:", LIBSPAWN_ERR_INVALID },
        { "tcp:1", LIBSPAWN_ERR_INVALID },
        { "tcp:127.0.0.1:0", LIBSPAWN_ERR_INVALID },
        { "ptcp:65536", LIBSPAWN_ERR_INVALID },
        { "ptcp:1:host.example", LIBSPAWN_ERR_INVALID },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_code(libspawn__stream_check_foreign(cases[i].name, NULL),
                    cases[i].code);
    }
}

TEST(stream_kind__is_that_of_the_prefix)
{
    static const struct {
        const char *name;
        enum libspawn__stream_kind kind;
    } cases[] = {
        { "unix:s", LIBSPAWN__STREAM_ACTIVE },
        { "tcp:", LIBSPAWN__STREAM_ACTIVE },
        { "punix:s", LIBSPAWN__STREAM_PASSIVE },
        { "pfd:3", LIBSPAWN__STREAM_PASSIVE },
        { "unix", LIBSPAWN__STREAM_NONE },
        { "file:s", LIBSPAWN__STREAM_NONE },
        { "", LIBSPAWN__STREAM_NONE },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        ck_assert_int_eq(libspawn__stream_kind(cases[i].name), cases[i].kind);
    }
}

TEST(stream_is_local__is_what_only_this_host_reaches)
{
    static const struct {
        const char *name;
        bool is_local;
    } cases[] = {
        { "punix:s", true },          { "ptcp:0", true },
        { "ptcp:0:127.3.2.1", true }, { "ptcp:0:[::1]", true },
        { "ptcp:0:0.0.0.0", false },  { "ptcp:0:[::]", false },
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FD int fd = -1;

        assert_ok(
            libspawn__stream_listen_anywhere(cases[i].name, 0600, &fd, NULL),
            NULL);
        ck_assert_int_eq(libspawn__stream_is_local(fd), cases[i].is_local);
    }
    ck_assert(!libspawn__stream_is_local(-1));
}

/* ---- Connecting -------------------------------------------------------- */

/* Covers S8. */
TEST(stream_open_to_a_listener__connects)
{
    static const char *const names[] = { "ptcp:0", "ptcp:0:[::1]" };
    size_t i;

    for (i = 0; i < (has_ipv6() ? 2 : 1); i++) {
        AUTO_FD int listener = listen_on(names[i]);
        AUTO_FREE char *name = name_of(listener);
        AUTO_FD int client = -1;
        AUTO_FD int server = -1;
        struct libspawn_err err;

        assert_ok(libspawn__stream_open(name, 5000, &client, &err), &err);
        server = accept_from(listener);
        assert_ok(libspawn__stream_finish_connect(client, &err), &err);
        ck_assert_int_eq(send(client, "x", 1, MSG_NOSIGNAL), 1);
        ck_assert(harness_wait_readable(server, 5000));
    }
}

/* Covers S8. */
TEST(stream_open_where_nobody_listens__is_gone)
{
    static const char *const names[] = { "ptcp:0", "ptcp:0:[::1]" };
    size_t i;

    for (i = 0; i < (has_ipv6() ? 2 : 1); i++) {
        int listener = listen_on(names[i]);
        AUTO_FREE char *name = name_of(listener);
        struct libspawn_err err;
        int fd = -1;

        close(listener);
        assert_code(libspawn__stream_open(name, 5000, &fd, &err),
                    LIBSPAWN_ERR_GONE);
        ck_assert_int_eq(err.sys_errno, ECONNREFUSED);
        assert_contains(err.text, name + strlen("tcp:"));
        ck_assert_int_eq(fd, -1);
    }
}

TEST(stream_open_by_name__looks_it_up)
{
    AUTO_FD int listener = listen_on("ptcp:0");
    AUTO_FREE char *name = with_port_of("tcp:localhost:", listener);
    AUTO_FD int client = -1;
    struct libspawn_err err;

    assert_ok(libspawn__stream_open(name, 5000, &client, &err), &err);
}

/* Covers S8.  A full queue, so that the kernel answers nobody any more. */
TEST(stream_open_without_an_answer__ends_in_time)
{
    AUTO_FD int listener = listen_on("ptcp:0");
    AUTO_FREE char *name = name_of(listener);
    int64_t start_ms = libspawn__clock_now_ms();
    int fds[2];
    int fd;

    ck_assert_int_eq(listen(listener, 0), 0);
    assert_ok(libspawn__stream_connect(name, &fds[0], NULL), NULL);
    assert_ok(libspawn__stream_connect(name, &fds[1], NULL), NULL);
    assert_code(libspawn__stream_open(name, 50, &fd, NULL),
                LIBSPAWN_ERR_TIMEOUT);
    ck_assert_int_ge(libspawn__clock_now_ms() - start_ms, 50);
    ck_assert_int_lt(libspawn__clock_now_ms() - start_ms, 5000);
    close(fds[0]);
    close(fds[1]);
}

TEST(stream_connect_by_tcp__is_unfinished_then_finished)
{
    AUTO_FD int listener = listen_on("ptcp:0");
    AUTO_FREE char *name = name_of(listener);
    AUTO_FD int first = -1;
    AUTO_FD int second = -1;
    AUTO_FD int third = -1;
    AUTO_FD int server = -1;
    char byte;

    ck_assert_int_eq(listen(listener, 0), 0);
    assert_ok(libspawn__stream_connect(name, &first, NULL), NULL);
    assert_ok(libspawn__stream_connect(name, &second, NULL), NULL);
    assert_ok(libspawn__stream_connect(name, &third, NULL), NULL);
    assert_code(libspawn__stream_finish_connect(third, NULL),
                LIBSPAWN_ERR_BUSY);
    ck_assert_int_eq(send(third, "x", 1, MSG_NOSIGNAL), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(recv(third, &byte, 1, 0), -1);
    ck_assert_int_eq(errno, EAGAIN);

    server = accept_from(listener);
    assert_ok(libspawn__stream_finish_connect(first, NULL), NULL);
}

/* ---- Peers that vanish ------------------------------------------------- */

static int
option(int fd, int level, int name)
{
    socklen_t size = sizeof(int);
    int value = -1;

    ck_assert_int_eq(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

TEST(stream_tcp__is_probed_on_both_sides)
{
    AUTO_FD int listener = listen_on("ptcp:0");
    AUTO_FREE char *name = name_of(listener);
    AUTO_FD int client = -1;
    AUTO_FD int server = -1;

    assert_ok(libspawn__stream_open(name, 5000, &client, NULL), NULL);
    server = accept_from(listener);
    ck_assert(libspawn__stream_needs_probes(client));
    ck_assert_int_eq(option(client, SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(option(server, SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(option(server, IPPROTO_TCP, TCP_KEEPIDLE), 15);
    ck_assert_int_ne(option(server, IPPROTO_TCP, TCP_NODELAY), 0);
}

TEST(stream_unix__needs_no_probes)
{
    int fds[2];

    assert_ok(libspawn__stream_pair(true, fds, NULL), NULL);
    ck_assert(!libspawn__stream_needs_probes(fds[0]));
    close(fds[0]);
    close(fds[1]);
}

TEST(stream_inherited_tcp__is_probed_too)
{
    int listener = listen_on("ptcp:0");
    AUTO_FREE char *number = libspawn__str_format("pfd:%d", listener);
    const int off = 0;
    AUTO_FD int taken = -1;

    setsockopt(listener, SOL_SOCKET, SO_KEEPALIVE, &off, sizeof off);
    assert_ok(libspawn__stream_listen(number, 0, &taken, NULL), NULL);
    ck_assert_int_eq(option(taken, SOL_SOCKET, SO_KEEPALIVE), 1);
}

TEST_MAIN("stream_tcp")
