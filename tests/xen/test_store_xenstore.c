/*
 * xenstore: the contract, against the real xenstored.
 *
 * A test that takes the server away connects through a process of its own
 * that passes everything on, and ends that: the host keeps its xenstored.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <xenstore.h>

#include "base/fd.h"
#include "store/provider.h"
#include "tests/unit/store_contract.h"

/* ---- The process in between -------------------------------------------- */

enum { CONNECTIONS_MAX = 8 };

static struct sockaddr_un
address_of(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return address;
}

static int
connect_to(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        _exit(1);
    }
    return fd;
}

static bool
pass_on(int from, int to)
{
    char bytes[8192];
    ssize_t n = read(from, bytes, sizeof bytes);

    return n > 0 && !libspawn__fd_write_full(to, bytes, (size_t)n);
}

/* Passes on between pairs of descriptors until it is killed. */
static void
relay(int listener, const char *server)
{
    struct pollfd fds[1 + 2 * CONNECTIONS_MAX] = { { .fd = listener,
                                                     .events = POLLIN } };
    nfds_t n_fds = 1;
    nfds_t i;

    while (poll(fds, n_fds, -1) > 0) {
        for (i = 1; i < n_fds; i++) {
            nfds_t peer = ((i - 1) ^ 1) + 1;

            if (fds[i].revents && !pass_on(fds[i].fd, fds[peer].fd)) {
                close(fds[i].fd);
                close(fds[peer].fd);
                fds[i].fd = fds[peer].fd = -1;
                fds[peer].revents = 0;
            }
        }
        if (fds[0].revents && n_fds < ARRAY_SIZE(fds)) {
            fds[n_fds++] = (struct pollfd){ .fd = accept4(listener, NULL, NULL,
                                                          SOCK_CLOEXEC),
                                            .events = POLLIN };
            fds[n_fds++] =
                (struct pollfd){ .fd = connect_to(server), .events = POLLIN };
        }
    }
    _exit(1);
}

static pid_t relay_pid;
static char relay_path[64];

/* Once per test, before its first connection.  The test's own directory may
 * be on a file system that has no sockets. */
static void
start_relay(void)
{
    AUTO_FREE char *server = strdup(xs_daemon_socket());
    AUTO_FD int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address;

    snprintf(relay_path, sizeof relay_path, "/tmp/test-store-xenstore-%d",
             (int)getpid());
    address = address_of(relay_path);
    ck_assert_int_eq(
        bind(listener, (const struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, CONNECTIONS_MAX), 0);
    relay_pid = fork();
    ck_assert_int_ge(relay_pid, 0);
    if (!relay_pid) {
        relay(listener, server);
    }
    ck_assert_int_eq(setenv("XENSTORED_PATH", relay_path, 1), 0);
}

static void
end_relay(void)
{
    kill(relay_pid, SIGKILL);
    contract_finish(relay_pid);
    ck_assert_int_eq(unlink(relay_path), 0);
}

static int
open_store(struct libspawn__store **store_r, struct libspawn_err *err)
{
    libspawn__store_register(&libspawn__store_xenstore_class);
    return libspawn__store_open("xenstore:", store_r, err);
}

const struct store_contract store_contract = { .open = open_store,
                                               .expect_loss = start_relay,
                                               .lose = end_relay };

/* ---- What is xenstore's own -------------------------------------------- */

static int n_fired;

static void
count(struct libspawn__store_watch *watch, const char *path)
{
    (void)watch;
    ck_assert_str_eq(path, "@releaseDomain");
    n_fired++;
}

TEST(xenstore_watch_of_domain_ends__fires_once_when_added)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn__store_watch watch = { 0 };
    struct libspawn__loop *loop = NULL;
    struct libspawn_err err = { 0 };

    assert_ok(libspawn__loop_new(&loop, &err), &err);
    assert_ok(libspawn__store_watch_add(store, loop, &watch, "@releaseDomain",
                                        count, &err),
              &err);
    while (!n_fired) {
        ck_assert(harness_wait_readable(libspawn__loop_fd(loop), 5000));
        assert_ok(libspawn__loop_dispatch(loop, &err), &err);
    }
    ck_assert_int_eq(n_fired, 1);
    libspawn__store_watch_remove(&watch);
    libspawn__store_close(TAKE_PTR(store));
    libspawn__loop_free(loop);
}

TEST(xenstore_address_with_argument__is_invalid)
{
    struct libspawn__store *other;

    libspawn__store_close(contract_open());
    assert_code(libspawn__store_open("xenstore:here", &other, NULL),
                LIBSPAWN_ERR_INVALID);
}

TEST(xenstore_names_that_xenstored_refuses__are_invalid)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();
    struct libspawn_err err = { 0 };

    assert_code(libspawn__store_puts(store, NULL, TOP "/0:0", "1", &err),
                LIBSPAWN_ERR_INVALID);
    assert_code(libspawn__store_puts(store, NULL, TOP "/a.b", "1", &err),
                LIBSPAWN_ERR_INVALID);
    contract_write(store, TOP "/a", "still works");
}

static size_t
count_threads(void)
{
    AUTO_DIR DIR *tasks = opendir("/proc/self/task");
    size_t n = 0;

    while (readdir(tasks)) {
        n++;
    }
    return n - 2; /* "." and ".." */
}

TEST(xenstore_without_watch__starts_no_thread)
{
    AUTO_STORE struct libspawn__store *store = contract_open_clean();

    contract_write(store, TOP "/a", "1");
    ck_assert_uint_eq(count_threads(), 1);
}

static const char *
obstacle(void)
{
    struct xs_handle *xs = xs_open(0);

    xs_close(xs);
    return xs ? NULL : "there is no xenstored here";
}

TEST_MAIN_UNLESS("store_xenstore", obstacle)
