/*
 * Memory running out at each allocation in turn, once or from then on: an
 * error that says so, nothing leaked (the sanitizers look), no crash, also
 * not inside yajl.  The linker puts these functions in place of libc's.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/auto.h"
#include "base/util.h"
#include "tests/lib/harness.h"
#include "wire/json.h"
#include "wire/qmp.h"

static long n_until_failure; /* 0: none fails */
static bool fails_for_good;
static bool failed;

static bool
fails(void)
{
    if (!n_until_failure) {
        return false;
    }
    if (n_until_failure > 1) {
        n_until_failure--;
        return false;
    }
    n_until_failure = fails_for_good;
    failed = true;
    return true;
}

#define WRAP(TYPE, NAME, PARAMETERS, ARGUMENTS, FAILURE)                      \
    TYPE __real_##NAME PARAMETERS;                                            \
    TYPE __wrap_##NAME PARAMETERS;                                            \
    TYPE __wrap_##NAME PARAMETERS                                             \
    {                                                                         \
        return fails() ? FAILURE : __real_##NAME ARGUMENTS;                   \
    }
WRAP(void *, malloc, (size_t size), (size), NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL)
WRAP(void *, realloc, (void *old, size_t size), (old, size), NULL)
WRAP(void *, reallocarray, (void *old, size_t n, size_t size), (old, n, size),
     NULL)
WRAP(char *, strdup, (const char *text), (text), NULL)
WRAP(char *, strndup, (const char *text, size_t size), (text, size), NULL)
WRAP(int, vasprintf, (char **text_r, const char *format, va_list args),
     (text_r, format, args), -1)

/* Runs 'story' with the first allocation failing, then with the second, and
 * so on until none fails any more; it returns the code it ended with.  It
 * makes no assertions, because those allocate as well. */
static void
check_story(int (*story)(void))
{
    enum {
        MAX_ALLOCATIONS = 1000
    };
    int mode;
    long n;

    assert_code(story(), 0);
    for (mode = 0; mode < 2; mode++) {
        failed = true;
        for (n = 1; failed; n++) {
            int rc;

            ck_assert_int_lt(n, MAX_ALLOCATIONS);
            failed = false;
            fails_for_good = mode;
            n_until_failure = n;
            rc = story();
            n_until_failure = 0;
            assert_code(rc, failed ? LIBSPAWN_ERR_NO_MEMORY : 0);
        }
        ck_assert_int_gt(n, 3);
    }
}

/* ---- JSON -------------------------------------------------------------- */

static int
read_text(void)
{
    static const char text[] =
        "{\"a\":[1,2.5,true,null,\"\\u00e4\\n\",3,4,5],\"b\":{\"c\":[[[]]]}}";
    AUTO_JSON struct libspawn__json *json = NULL;

    return libspawn__json_parse(text, strlen(text), sizeof text, &json, NULL);
}

/* yajl makes a sentence of its own for it. */
static int
read_malformed_text(void)
{
    AUTO_JSON struct libspawn__json *json = NULL;
    int rc = libspawn__json_parse("[1,}", 4, 4, &json, NULL);

    return rc == LIBSPAWN_ERR_PROTOCOL ? 0 : rc;
}

static int
write_text(void)
{
    struct libspawn__json_writer *writer = libspawn__json_writer_new(true);
    AUTO_FREE char *text = NULL;
    int i;

    libspawn__json_begin_array(writer, NULL);
    for (i = 0; i < 100; i++) {
        libspawn__json_put_string(writer, NULL, "a\xff");
    }
    libspawn__json_put_double(writer, NULL, 0.1);
    libspawn__json_end_array(writer);
    text = libspawn__json_writer_take(writer);
    return text ? 0 : LIBSPAWN_ERR_NO_MEMORY;
}

/* ---- A client of QEMU --------------------------------------------------- */

struct talk {
    struct libspawn__loop *loop;
    struct libspawn__qmp *qmp;
    int fds[2];
    bool answered;
    int error; /* what it was closed with */
};

static void
on_ready(void *user)
{
    (void)user;
}

static void
on_closed(void *user, const struct libspawn_err *err)
{
    struct talk *talk = user;

    talk->error = err->code;
}

static void
on_reply(void *user, const struct libspawn__json *result,
         const struct libspawn_err *err)
{
    struct talk *talk = user;

    (void)err;
    talk->answered = result != NULL;
}

static void
talk_dispose(struct talk *talk)
{
    libspawn__qmp_free(talk->qmp);
    libspawn__loop_free(talk->loop);
    libspawn__auto_close(&talk->fds[1]);
}
#define AUTO_TALK AUTO(talk_dispose)

static int
talk_start(struct talk *talk)
{
    const struct libspawn__qmp_callbacks callbacks = { .ready = on_ready,
                                                       .closed = on_closed,
                                                       .user = talk };
    int rc = libspawn__loop_new(&talk->loop, NULL);

    if (rc) {
        close(talk->fds[0]);
        return rc;
    }
    rc = libspawn__qmp_new(talk->loop, talk->fds[0], &callbacks, &talk->qmp,
                           NULL);
    if (!rc) {
        rc = libspawn__qmp_command(talk->qmp, "a", "{\"b\": 1}", -1, on_reply,
                                   talk, NULL);
    }
    return rc;
}

static int
talk_to_qemu(void)
{
    static const char *const lines[] = { "{\"QMP\": {}}\n",
                                         "{\"return\": {}, \"id\": 0}\n",
                                         "{\"return\": [1, 2], \"id\": 1}\n" };
    AUTO_TALK struct talk talk = { .fds = { -1, -1 } };
    size_t i;
    int rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                   talk.fds)) {
        return LIBSPAWN_ERR_SYSTEM;
    }
    rc = talk_start(&talk);
    for (i = 0; i < ARRAY_SIZE(lines) && !rc; i++) {
        struct pollfd pollfd = { .fd = libspawn__loop_fd(talk.loop),
                                 .events = POLLIN };

        send(talk.fds[1], lines[i], strlen(lines[i]), MSG_NOSIGNAL);
        while (!rc && poll(&pollfd, 1, 0) > 0) {
            rc = libspawn__loop_dispatch(talk.loop, NULL);
        }
        rc = rc ? rc : talk.error;
    }
    return rc || talk.answered ? rc : LIBSPAWN_ERR_SYSTEM;
}

TEST(json_read_without_memory__is_an_error)
{
    check_story(read_text);
}

TEST(json_malformed_text_without_memory__is_an_error)
{
    check_story(read_malformed_text);
}

TEST(json_write_without_memory__is_an_error)
{
    check_story(write_text);
}

TEST(qmp_client_without_memory__is_closed_with_that)
{
    check_story(talk_to_qemu);
}

TEST_MAIN("wire_memory")
