/*
 * The QMP client and the end of its connection: QEMU leaves, stops reading,
 * or the client is freed from any of its own callbacks.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "tests/lib/harness.h"
#include "tests/unit/qmp_scene.h"

/* ---- The end ------------------------------------------------------------ */

TEST(qmp_end_between_messages__is_gone)
{
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    peer_leaves(&scene);
    ck_assert_str_eq(scene.log.data, "closed:gone");
}

TEST(qmp_end_in_the_middle_of_a_message__is_gone)
{
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    scene_command(&scene, "sent");
    scene_settle(&scene);
    peer_says(&scene, "{\"return\": ");
    scene_command(&scene, "queued");
    peer_leaves(&scene);
    ck_assert_str_eq(scene.log.data, "gone gone closed:gone");
}

TEST(qmp_end_before_the_greeting__is_gone)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    scene_command(&scene, "a");
    peer_leaves(&scene);
    ck_assert_str_eq(scene.log.data, "gone closed:gone");
}

/* QEMU says why it ends and exits; what we send then fails first. */
TEST(qmp_last_words__are_heard_although_sending_fails)
{
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    scene_command(&scene, "a");
    ck_assert_int_gt(send(scene.peer, "{\"event\": \"SHUTDOWN\"}\n", 22, 0),
                     0);
    peer_leaves(&scene);
    ck_assert_str_eq(scene.log.data, "SHUTDOWN gone closed:gone");
}

TEST(qmp_peer_that_stops_reading__does_not_make_the_loop_spin)
{
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    ck_assert_int_eq(shutdown(scene.peer, SHUT_RD), 0);
    scene_command(&scene, "a");
    scene_settle(&scene);
    ck_assert_str_eq(scene.log.data, "");
    peer_says(&scene, "{\"event\": \"STOP\"}\n");
    peer_leaves(&scene);
    ck_assert_str_eq(scene.log.data, "STOP gone closed:gone");
}

TEST(qmp_peer_that_never_reads__meets_a_bound)
{
    AUTO_SCENE struct scene scene;
    AUTO_FREE char *arguments = libspawn__str_format("{\"a\":%060000d}", 0);
    struct libspawn_err err;
    size_t n_queued = 0;
    int rc;

    /* Not a number: it only has to be long. */
    memset(arguments + strlen("{\"a\":"), ' ', 60000 - 1);
    arguments[strlen("{\"a\":")] = '"';
    arguments[strlen("{\"a\":") + 60000 - 1] = '"';
    scene_init_ready(&scene);
    do {
        rc = libspawn__qmp_command(scene.qmp, "a", arguments, -1, log_reply,
                                   &scene, &err);
        scene_settle(&scene);
        n_queued += !rc;
    } while (!rc && n_queued < 100);
    assert_code(rc, LIBSPAWN_ERR_LIMIT);
    ck_assert_uint_eq(n_queued, LIBSPAWN__QMP_QUEUE_MAX / 60000);
    ck_assert_str_eq(scene.log.data, "");
    peer_leaves(&scene);
    assert_contains(scene.log.data, "gone gone closed:gone");
}

TEST(qmp_large_command__is_sent_in_parts)
{
    AUTO_SCENE struct scene scene;
    AUTO_BUF struct libspawn__buf arguments = { 0 };
    char text[65536];
    size_t n_received = 0;
    ssize_t n;
    int i;

    scene_init_ready(&scene);
    libspawn__buf_puts(&arguments, "{\"a\":\"");
    for (i = 0; i < 90000; i++) {
        libspawn__buf_puts(&arguments, "0123456789");
    }
    libspawn__buf_puts(&arguments, "\"}");
    assert_ok(libspawn__qmp_command(scene.qmp, "a", arguments.data, -1,
                                    log_reply, &scene, NULL),
              NULL);
    do {
        scene_settle(&scene);
        n = recv(scene.peer, text, sizeof text, 0);
        ck_assert_int_gt(n, 0);
        n_received += (size_t)n;
    } while (text[n - 1] != '\n');
    ck_assert_uint_eq(n_received,
                      strlen("{\"execute\":\"a\",\"arguments\":,\"id\":1}\n") +
                          arguments.size);
    peer_says(&scene, "{\"return\": 1, \"id\": 1}\n");
    ck_assert_str_eq(scene.log.data, "1");
}

/* ---- Freeing, at every point -------------------------------------------- */

/* Goes through everything that has callbacks, freeing the client when
 * 'free_at' is logged; 'expected' is all that may have been logged then. */
static void
check_free(const char *free_at, const char *expected)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    scene.free_at = free_at;
    scene_command(&scene, "a");
    scene_command(&scene, "b");
    scene_command(&scene, "c");
    peer_says(&scene, GREETING);
    peer_says(&scene, NEGOTIATED);
    if (scene.qmp) {
        peer_says(&scene, "{\"event\": \"STOP\"}\n{\"return\": 1, \"id\": 1}\n"
                          "{\"event\": \"RESUME\"}\n");
    }
    peer_leaves(&scene);
    ck_assert_ptr_null(scene.qmp);
    ck_assert_str_eq(scene.log.data, expected);
}

TEST(qmp_freed_in_ready__calls_no_more)
{
    check_free("ready", "ready");
}

TEST(qmp_freed_in_event__calls_no_more)
{
    check_free("STOP", "ready STOP");
}

TEST(qmp_freed_in_reply__calls_no_more)
{
    check_free("1", "ready STOP 1");
}

TEST(qmp_freed_in_reply_because_of_the_end__calls_no_more)
{
    check_free("gone", "ready STOP 1 RESUME gone");
}

TEST(qmp_freed_in_closed__is_fine)
{
    check_free("closed:gone", "ready STOP 1 RESUME gone gone closed:gone");
}

TEST(qmp_freed_with_commands_outstanding__calls_nobody)
{
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    scene_command(&scene, "a");
    libspawn__qmp_free(scene.qmp);
    scene.qmp = NULL;
    scene_settle(&scene);
    ck_assert_str_eq(scene.log.data, "");
    libspawn__qmp_free(NULL);
}

static void
ask_again(void *user, const struct libspawn__json *result,
          const struct libspawn_err *err)
{
    struct scene *scene = user;
    int rc = libspawn__qmp_command(scene->qmp, "again", NULL, -1, log_reply,
                                   scene, NULL);

    (void)result;
    scene_note(scene, libspawn_code_name(rc));
    ck_assert_int_eq(rc, err ? LIBSPAWN_ERR_GONE : 0);
}

TEST(qmp_command_from_a_reply__is_sent)
{
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    assert_ok(libspawn__qmp_command(scene.qmp, "a", NULL, -1, ask_again,
                                    &scene, NULL),
              NULL);
    scene_settle(&scene);
    assert_said(&scene, "{\"execute\":\"a\",\"id\":1}\n");
    peer_says(&scene, "{\"return\": {}, \"id\": 1}\n");
    assert_said(&scene, "{\"execute\":\"again\",\"id\":2}\n");
    ck_assert_str_eq(scene.log.data, "ok");
}

TEST(qmp_command_from_a_reply_at_the_end__is_refused)
{
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    assert_ok(libspawn__qmp_command(scene.qmp, "a", NULL, -1, ask_again,
                                    &scene, NULL),
              NULL);
    peer_leaves(&scene);
    ck_assert_str_eq(scene.log.data, "gone closed:gone");
}

/* ---- Connecting --------------------------------------------------------- */

/* A TCP port on the loopback that nobody listens on, and a connection to it
 * that the kernel has not refused yet. */
static int
start_connecting_to_nobody(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    AUTO_FD int reserved = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    /* Bound but not listening: nobody else can have it meanwhile. */
    ck_assert_int_eq(bind(reserved, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(getsockname(reserved, (struct sockaddr *)&address, &size),
                     0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, size), -1);
    ck_assert_int_eq(errno, EINPROGRESS);
    return fd;
}

TEST(qmp_connection_that_is_refused_later__is_closed_with_that)
{
    AUTO_SCENE struct scene scene = { .peer = -1 };
    struct libspawn_err err;

    assert_ok(scene_init_with(&scene, start_connecting_to_nobody(), &err),
              &err);
    ck_assert(harness_wait_readable(libspawn__loop_fd(scene.loop), 5000));
    scene_settle(&scene);
    ck_assert_str_eq(scene.log.data, "closed:gone");
}

TEST(qmp_new_that_fails__closes_the_descriptor)
{
    AUTO_SCENE struct scene scene = { .peer = -1 };
    struct libspawn_err err;
    /* epoll does not take regular files. */
    int fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ne(scene_init_with(&scene, fd, &err), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
}

TEST_MAIN("qmp_end")
