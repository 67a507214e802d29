/*
 * Listening, connecting and accepting by name: what wire/stream promises
 * about paths, modes, dead listeners and inherited descriptors.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/lib/harness.h"
#include "wire/stream.h"

static int
listen_on(const char *name)
{
    struct libspawn_err err;
    int fd = -1;

    assert_ok(libspawn__stream_listen(name, 0600, &fd, &err), &err);
    return fd;
}

static int
connect_to(const char *name)
{
    struct libspawn_err err;
    int fd = -1;

    assert_ok(libspawn__stream_connect(name, &fd, &err), &err);
    return fd;
}

static int
accept_from(int listener)
{
    struct libspawn_err err;
    int fd = -1;

    assert_ok(libspawn__stream_accept(listener, &fd, &err), &err);
    return fd;
}

/* A socket that nobody listens on any more. */
static void
leave_dead_listener(const char *name)
{
    int fd = listen_on(name);

    close(fd);
}

static size_t
count_entries(const char *path)
{
    AUTO_DIR DIR *dir = opendir(path);
    size_t n_entries = 0;
    struct dirent *entry;

    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir))) {
        n_entries += entry->d_name[0] != '.';
    }
    return n_entries;
}

TEST(stream_listen_and_connect__makes_a_connection)
{
    AUTO_FD int listener = listen_on("punix:s");
    AUTO_FD int client = connect_to("unix:s");
    AUTO_FD int server = accept_from(listener);
    char byte;

    ck_assert_int_eq(write(client, "x", 1), 1);
    ck_assert_int_eq(read(server, &byte, 1), 1);
    ck_assert(fcntl(listener, F_GETFD) & FD_CLOEXEC);
    ck_assert(fcntl(client, F_GETFD) & FD_CLOEXEC);
    ck_assert(fcntl(server, F_GETFD) & FD_CLOEXEC);
    ck_assert(fcntl(client, F_GETFL) & O_NONBLOCK);
    ck_assert(fcntl(server, F_GETFL) & O_NONBLOCK);
}

TEST(stream_peer__is_this_process)
{
    AUTO_FD int listener = listen_on("punix:s");
    AUTO_FD int client = connect_to("unix:s");
    AUTO_FD int server = accept_from(listener);
    struct libspawn_err err;
    pid_t pid = 0;
    uid_t uid = (uid_t)-1;

    assert_ok(libspawn__stream_peer(server, &pid, &uid, &err), &err);
    ck_assert_int_eq(pid, getpid());
    ck_assert_uint_eq(uid, getuid());
}

TEST(stream_peer_of_what_has_none__is_unsupported)
{
    AUTO_FD int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pid_t pid;
    uid_t uid;

    assert_code(libspawn__stream_peer(tcp, &pid, &uid, NULL),
                LIBSPAWN_ERR_UNSUPPORTED);
}

TEST(stream_accept_without_a_client__is_busy)
{
    AUTO_FD int listener = listen_on("punix:s");
    int fd;

    assert_code(libspawn__stream_accept(listener, &fd, NULL),
                LIBSPAWN_ERR_BUSY);
}

TEST(stream_listen__gives_the_mode_whatever_the_umask)
{
    static const mode_t modes[] = { 0600, 0660, 0666 };
    struct libspawn_err err;
    struct stat st;
    size_t i;

    umask(0077);
    for (i = 0; i < ARRAY_SIZE(modes); i++) {
        AUTO_FD int fd = -1;

        assert_ok(libspawn__stream_listen("punix:s", modes[i], &fd, &err),
                  &err);
        ck_assert_int_eq(stat("s", &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, modes[i]);
    }
}

/* Covers S16. */
TEST(stream_listen_on_dead_listener__replaces_it_and_leaves_nothing_else)
{
    AUTO_FD int listener = -1;
    AUTO_FD int client = -1;
    AUTO_FD int server = -1;

    ck_assert_int_eq(mkdir("d", 0700), 0);
    leave_dead_listener("punix:d/s");
    listener = listen_on("punix:d/s");
    client = connect_to("unix:d/s");
    server = accept_from(listener);
    ck_assert_uint_eq(count_entries("d"), 1);
}

TEST(stream_remove_dead__takes_only_what_nobody_listens_on)
{
    AUTO_FD int live = -1;
    int dead = -1;

    assert_ok(libspawn__stream_listen("punix:live", 0600, &live, NULL), NULL);
    assert_ok(libspawn__stream_listen("punix:dead", 0600, &dead, NULL), NULL);
    close(dead);
    harness_write_file("file", "");
    libspawn__stream_remove_dead("live");
    libspawn__stream_remove_dead("dead");
    libspawn__stream_remove_dead("file");
    libspawn__stream_remove_dead("none");
    ck_assert_int_eq(access("live", F_OK), 0);
    ck_assert_int_eq(access("file", F_OK), 0);
    ck_assert_int_ne(access("dead", F_OK), 0);
}

/* Covers S16. */
TEST(stream_listen_on_live_listener__fails_and_leaves_it_alone)
{
    AUTO_FD int listener = -1;
    AUTO_FD int client = -1;
    AUTO_FD int probe = -1;
    AUTO_FD int server = -1;
    struct libspawn_err err;
    int fd = -1;

    ck_assert_int_eq(mkdir("d", 0700), 0);
    listener = listen_on("punix:d/s");
    assert_code(libspawn__stream_listen("punix:d/s", 0600, &fd, &err),
                LIBSPAWN_ERR_EXISTS);
    ck_assert_int_eq(fd, -1);
    assert_contains(err.text, "'d/s': somebody else listens there");
    ck_assert_uint_eq(count_entries("d"), 1);
    client = connect_to("unix:d/s");
    probe = accept_from(listener);
    server = accept_from(listener);
}

TEST(stream_listen_on_a_file__fails_and_leaves_it_alone)
{
    AUTO_FREE char *text = NULL;
    int fd;

    harness_write_file("s", "precious");
    assert_code(libspawn__stream_listen("punix:s", 0600, &fd, NULL),
                LIBSPAWN_ERR_EXISTS);
    text = harness_read_file("s");
    ck_assert_str_eq(text, "precious");
}

/* Somebody may have put the link there for us to fall into. */
TEST(stream_listen_on_a_link_to_a_dead_listener__fails)
{
    int fd;

    leave_dead_listener("punix:victim");
    ck_assert_int_eq(symlink("victim", "s"), 0);
    assert_code(libspawn__stream_listen("punix:s", 0600, &fd, NULL),
                LIBSPAWN_ERR_EXISTS);
}

TEST(stream_listen_in_missing_directory__is_not_found)
{
    int fd;

    assert_code(libspawn__stream_listen("punix:d/s", 0600, &fd, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
}

/* ---- Two that replace a dead listener at once --------------------------- */

struct racer {
    pthread_t thread;
    pthread_barrier_t *start;
    int fd; /* what it listens on; -1: it lost */
};

static void *
race(void *user)
{
    struct racer *racer = user;

    racer->fd = -1;
    pthread_barrier_wait(racer->start);
    libspawn__stream_listen("punix:s", 0600, &racer->fd, NULL);
    return NULL;
}

TEST_TIMEOUT(stream_listen_race_for_a_dead_listener__has_one_winner, 30)
{
    enum {
        ROUNDS = 300
    };
    struct racer racers[2];
    pthread_barrier_t start;
    int round;

    ck_assert_int_eq(pthread_barrier_init(&start, NULL, 2), 0);
    for (round = 0; round < ROUNDS; round++) {
        AUTO_FD int client = -1;
        AUTO_FD int server = -1;
        AUTO_FD int winner = -1;
        size_t i;

        leave_dead_listener("punix:s");
        for (i = 0; i < 2; i++) {
            racers[i].start = &start;
            ck_assert_int_eq(
                pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
        }
        for (i = 0; i < 2; i++) {
            ck_assert_int_eq(pthread_join(racers[i].thread, NULL), 0);
        }
        ck_assert_int_ne(racers[0].fd < 0, racers[1].fd < 0);
        winner = MAX(racers[0].fd, racers[1].fd);
        client = connect_to("unix:s");
        server = accept_from(winner);
    }
    pthread_barrier_destroy(&start);
}

/* ---- Paths longer than an address -------------------------------------- */

TEST(stream_path_longer_than_an_address__works_and_leaves_nothing_else)
{
    AUTO_FREE char *dir =
        libspawn__str_format("%s/%0100d/%0100d", harness_dir(), 1, 2);
    AUTO_FREE char *passive = libspawn__str_format("punix:%s/s", dir);
    AUTO_FD int listener = -1;
    AUTO_FD int client = -1;
    AUTO_FD int server = -1;
    struct libspawn_err err;

    assert_ok(libspawn__dir_make(dir, 0700, &err), &err);
    leave_dead_listener(passive);
    listener = listen_on(passive);
    client = connect_to(passive + 1);
    server = accept_from(listener);
    ck_assert_uint_eq(count_entries(dir), 1);
}

TEST(stream_name_longer_than_an_address__is_invalid)
{
    AUTO_FREE char *passive = libspawn__str_format("punix:%0120d", 1);
    int fd;

    assert_code(libspawn__stream_listen(passive, 0600, &fd, NULL),
                LIBSPAWN_ERR_INVALID);
    assert_code(libspawn__stream_connect(passive + 1, &fd, NULL),
                LIBSPAWN_ERR_INVALID);
}

/* ---- Connecting -------------------------------------------------------- */

TEST(stream_connect_to_missing_path__is_not_found)
{
    int fd;

    assert_code(libspawn__stream_connect("unix:s", &fd, NULL),
                LIBSPAWN_ERR_NOT_FOUND);
}

TEST(stream_connect_to_dead_listener__is_gone)
{
    struct libspawn_err err;
    int fd;

    leave_dead_listener("punix:s");
    assert_code(libspawn__stream_connect("unix:s", &fd, &err),
                LIBSPAWN_ERR_GONE);
    assert_contains(err.text, "connecting to 's'");
}

TEST(stream_connect_to_full_queue__is_busy)
{
    AUTO_FD int listener = listen_on("punix:s");
    AUTO_FD int first = -1;
    int fd;

    /* Linux lets one more wait than it is told. */
    ck_assert_int_eq(listen(listener, 0), 0);
    first = connect_to("unix:s");
    assert_code(libspawn__stream_connect("unix:s", &fd, NULL),
                LIBSPAWN_ERR_BUSY);
}

TEST(stream_name_of_wrong_kind__is_unsupported)
{
    static const char *const not_active[] = {
        "ssl:localhost:1", "s", "", "punix:s", "ptcp:1", "pfd:0", "unix"
    };
    static const char *const not_passive[] = { "pssl:1", "s",       "",
                                               "unix:s", "tcp:1:1", "fd:0",
                                               "punix" };
    size_t i;
    int fd;

    for (i = 0; i < ARRAY_SIZE(not_active); i++) {
        assert_code(libspawn__stream_connect(not_active[i], &fd, NULL),
                    LIBSPAWN_ERR_UNSUPPORTED);
        assert_code(libspawn__stream_listen(not_passive[i], 0600, &fd, NULL),
                    LIBSPAWN_ERR_UNSUPPORTED);
    }
}

TEST(stream_empty_path__is_invalid)
{
    int fd;

    assert_code(libspawn__stream_connect("unix:", &fd, NULL),
                LIBSPAWN_ERR_INVALID);
}

/* ---- Inherited descriptors --------------------------------------------- */

TEST(stream_fd_of_connected_socket__is_taken_over)
{
    char name[32];
    struct libspawn_err err;
    int taken = -1;
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    snprintf(name, sizeof name, "fd:%d", fds[0]);
    assert_ok(libspawn__stream_connect(name, &taken, &err), &err);
    ck_assert_int_eq(taken, fds[0]);
    ck_assert(fcntl(taken, F_GETFD) & FD_CLOEXEC);
    ck_assert(fcntl(taken, F_GETFL) & O_NONBLOCK);
    close(fds[0]);
    close(fds[1]);
}

TEST(stream_pfd_of_listening_socket__is_taken_over)
{
    AUTO_FD int listener = listen_on("punix:s");
    AUTO_FREE char *name = libspawn__str_format("pfd:%d", listener);
    AUTO_FD int client = connect_to("unix:s");
    AUTO_FD int server = -1;
    int taken = listen_on(name);

    ck_assert_int_eq(taken, listener);
    server = accept_from(taken);
}

static void
assert_refused(bool passive, int number, const char *reason)
{
    AUTO_FREE char *name =
        libspawn__str_format("%s:%d", passive ? "pfd" : "fd", number);
    struct libspawn_err err;
    int fd = -1;
    int rc = passive ? libspawn__stream_listen(name, 0600, &fd, &err)
                     : libspawn__stream_connect(name, &fd, &err);

    ck_assert_int_ne(rc, 0);
    ck_assert_int_eq(fd, -1);
    assert_contains(err.text, reason);
}

/* Covers S9. */
TEST(stream_fd_of_something_else__is_refused_with_its_own_reason)
{
    AUTO_FD int listener = listen_on("punix:s");
    AUTO_FD int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    AUTO_FD int datagram = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    AUTO_FD int idle = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_refused(false, 987, "descriptor 987 is not open");
    assert_refused(false, file, "is not a socket");
    assert_refused(false, datagram, "is not a stream socket");
    assert_refused(false, listener, "is a socket that listens");
    assert_refused(false, -1, "'-1' is not a number");
}

/* Covers S9. */
TEST(stream_pfd_of_something_else__is_refused_and_others_still_work)
{
    AUTO_FREE char *name = NULL;
    AUTO_FD int listener = listen_on("punix:s");
    AUTO_FD int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    AUTO_FD int datagram = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    AUTO_FD int idle = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    AUTO_FD int client = -1;
    AUTO_FD int server = -1;

    assert_refused(true, 987, "descriptor 987 is not open");
    assert_refused(true, file, "is not a socket");
    assert_refused(true, datagram, "is not a stream socket");
    assert_refused(true, idle, "is a socket that does not listen");
    assert_refused(true, -1, "'-1' is not a number");

    name = libspawn__str_format("pfd:%d", listener);
    ck_assert_int_eq(listen_on(name), listener);
    client = connect_to("unix:s");
    server = accept_from(listener);
}

TEST_MAIN("stream_names")
