/*
 * The QMP client against a peer that this test plays by hand: what a QEMU
 * that is slow, broken or hostile can say.  How it can leave: test_qmp_end.
 * The real one: tests/flow/test_qmp_qemu.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "tests/lib/harness.h"
#include "tests/unit/qmp_scene.h"
#include "wire/lines.h"
#include "wire/stream.h"

/* ---- The ordinary course ----------------------------------------------- */

TEST(qmp_before_the_greeting__says_nothing)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    scene_command(&scene, "early");
    scene_settle(&scene);
    assert_said(&scene, "");
    peer_says(&scene, GREETING);
    assert_said(&scene, "{\"execute\":\"qmp_capabilities\",\"id\":0}\n"
                        "{\"execute\":\"early\",\"id\":1}\n");
    peer_says(&scene, NEGOTIATED);
    peer_says(&scene, "{\"return\": 5, \"id\": 1}\r\n");
    ck_assert_str_eq(scene.log.data, "ready 5");
}

TEST(qmp_that_sends_ahead__waits_for_no_greeting)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    scene_command(&scene, "early");
    libspawn__qmp_send_ahead(scene.qmp);
    assert_said(&scene, "{\"execute\":\"qmp_capabilities\",\"id\":0}\n"
                        "{\"execute\":\"early\",\"id\":1}\n");
    scene_command(&scene, "soon");
    scene_settle(&scene);
    assert_said(&scene, "{\"execute\":\"soon\",\"id\":2}\n");
    peer_says(&scene, GREETING NEGOTIATED);
    assert_said(&scene, "");
    peer_says(&scene, "{\"return\": 5, \"id\": 1}\r\n"
                      "{\"return\": 6, \"id\": 2}\r\n");
    ck_assert_str_eq(scene.log.data, "ready 5 6");
}

TEST(qmp_that_sends_ahead__believes_no_answer_before_the_greeting)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    scene_command(&scene, "early");
    libspawn__qmp_send_ahead(scene.qmp);
    peer_says(&scene, "{\"return\": 5, \"id\": 1}\r\n");
    ck_assert_str_eq(scene.log.data, "protocol closed:protocol");
}

TEST(qmp_that_sends_ahead_to_nobody__hears_it_from_the_loop)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    scene_command(&scene, "early");
    libspawn__auto_close(&scene.peer);
    scene.peer = -1;
    libspawn__qmp_send_ahead(scene.qmp);
    ck_assert_str_eq(scene.log.data, "");
    scene_settle(&scene);
    ck_assert_str_eq(scene.log.data, "gone closed:gone");
}

/* More than go in one message. */
TEST(qmp_many_commands_at_once__arrive_in_their_order)
{
    AUTO_BUF struct libspawn__buf expected = { 0 };
    AUTO_SCENE struct scene scene;
    int i;

    scene_init_ready(&scene);
    for (i = 1; i <= 20; i++) {
        scene_command(&scene, "x");
        libspawn__buf_printf(&expected, "{\"execute\":\"x\",\"id\":%d}\n",
                             i);
    }
    scene_settle(&scene);
    assert_said(&scene, expected.data);
}

TEST(qmp_answer_before_the_negotiation__is_not_believed)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    scene_command(&scene, "early");
    peer_says(&scene, GREETING);
    peer_says(&scene, "{\"return\": 5, \"id\": 1}\r\n");
    ck_assert_str_eq(scene.log.data, "protocol closed:protocol");
}

TEST(qmp_command_with_arguments__sends_them_on_one_line)
{
    AUTO_SCENE struct scene scene;
    struct libspawn_err err;

    scene_init_ready(&scene);
    assert_ok(libspawn__qmp_command(scene.qmp, "x\"y", "{\"a\":\n{\"b\": 1}}",
                                    -1, log_reply, &scene, &err),
              &err);
    scene_settle(&scene);
    assert_said(&scene, "{\"execute\":\"x\\\"y\",\"arguments\":{\"a\":{\"b\":"
                        "1}},\"id\":1}\n");
}

TEST(qmp_arguments_as_deep_as_can_be_read__are_sent)
{
    AUTO_SCENE struct scene scene;
    AUTO_BUF struct libspawn__buf text = { 0 };
    int i;

    libspawn__buf_puts(&text, "{\"a\":");
    for (i = 1; i < LIBSPAWN__JSON_DEPTH_MAX; i++) {
        libspawn__buf_puts(&text, "[");
    }
    while (--i > 0) {
        libspawn__buf_puts(&text, "]");
    }
    libspawn__buf_puts(&text, "}");
    scene_init_ready(&scene);
    assert_ok(libspawn__qmp_command(scene.qmp, "x", text.data, -1, log_reply,
                                    &scene, NULL),
              NULL);
}

TEST(qmp_arguments_that_are_no_object__are_invalid)
{
    static const char *const texts[] = { "", "[]", "1", "{", "{} {}" };
    AUTO_SCENE struct scene scene;
    struct libspawn_err err;
    size_t i;

    scene_init_ready(&scene);
    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_code(libspawn__qmp_command(scene.qmp, "x", texts[i], -1,
                                          log_reply, &scene, &err),
                    LIBSPAWN_ERR_INVALID);
        assert_contains(err.text, "sending 'x' to QEMU: ");
    }
    scene_settle(&scene);
    assert_said(&scene, "");
    ck_assert_str_eq(scene.log.data, "");
}

TEST(qmp_reply__never_comes_from_inside_the_command)
{
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    libspawn__auto_close(&scene.peer);
    scene.peer = -1;
    scene_command(&scene, "a");
    ck_assert_str_eq(scene.log.data, "");
    scene_settle(&scene);
    ck_assert_str_eq(scene.log.data, "gone closed:gone");
}

TEST(qmp_answers_in_another_order__reach_their_commands)
{
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    scene_command(&scene, "a");
    scene_command(&scene, "b");
    scene_settle(&scene);
    peer_says(&scene, "{\"id\": 2, \"return\": 22}\n");
    peer_says(&scene, "{\"id\": 1, \"return\": 11}\n");
    ck_assert_str_eq(scene.log.data, "22 11");
}

TEST(qmp_events_between__are_passed_on_in_order)
{
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    scene_command(&scene, "a");
    scene_settle(&scene);
    peer_says(&scene, "{\"event\": \"NOBODY_KNOWS\", \"data\": {\"x\": 1},"
                      " \"timestamp\": {}}\r\n"
                      "{\"event\": \"STOP\"}\r\n"
                      "{\"return\": 1, \"id\": 1}\r\n"
                      "\r\n");
    ck_assert_str_eq(scene.log.data, "NOBODY_KNOWS(x) STOP 1");
}

TEST(qmp_event_before_negotiation__is_passed_on)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    peer_says(&scene, GREETING "{\"event\": \"RESUME\"}\n" NEGOTIATED);
    ck_assert_str_eq(scene.log.data, "RESUME closed:protocol");
}

TEST(qmp_bytes_one_at_a_time__are_put_together)
{
    static const char text[] = GREETING;
    AUTO_SCENE struct scene scene;
    size_t i;

    scene_init(&scene);
    for (i = 0; i < strlen(text); i++) {
        const char byte[2] = { text[i], '\0' };

        peer_says(&scene, byte);
    }
    assert_said(&scene, "{\"execute\":\"qmp_capabilities\",\"id\":0}\n");
    peer_says(&scene, "{\"return\": {}, ");
    peer_says(&scene, "\"id\": 0}");
    ck_assert_str_eq(scene.log.data, "");
    peer_says(&scene, "\n");
    ck_assert_str_eq(scene.log.data, "ready");
}

static void
check_refusal(const char *class, int code)
{
    AUTO_SCENE struct scene scene;
    AUTO_FREE char *answer = libspawn__str_format(
        "{\"id\": 1, \"error\": {\"class\": \"%s\", \"desc\": \"no\"}}\n",
        class);

    scene_init_ready(&scene);
    scene_command(&scene, "a");
    scene_settle(&scene);
    peer_says(&scene, answer);
    ck_assert_str_eq(scene.log.data, libspawn_code_name(code));
}

TEST(qmp_refusal__has_a_code_for_its_class)
{
    check_refusal("GenericError", LIBSPAWN_ERR_INVALID);
    check_refusal("CommandNotFound", LIBSPAWN_ERR_UNSUPPORTED);
    check_refusal("DeviceNotFound", LIBSPAWN_ERR_NOT_FOUND);
    check_refusal("SomethingNew", LIBSPAWN_ERR_INVALID);
}

static void
copy_sentence(void *user, const struct libspawn__json *result,
              const struct libspawn_err *err)
{
    ck_assert_ptr_null(result);
    snprintf(user, sizeof err->text, "%s", err->text);
}

/* The sentence goes to a terminal; QEMU must not move its cursor. */
TEST(qmp_refusal_with_control_characters__becomes_one_plain_sentence)
{
    AUTO_SCENE struct scene scene;
    char text[512] = "";

    scene_init_ready(&scene);
    assert_ok(libspawn__qmp_command(scene.qmp, "a", NULL, -1, copy_sentence,
                                    text, NULL),
              NULL);
    scene_settle(&scene);
    peer_says(&scene, "{\"id\": 1, \"error\": {\"class\": \"GenericError\","
                      " \"desc\": \"x\\u001b[2J\\ny\\u009bz\\u00a0\"}}\n");
    ck_assert_str_eq(text, "QEMU refused 'a': x?[2J?y??z\xc2\xa0");
}

/* Where it is cut off may be the middle of a character. */
TEST(qmp_refusal_longer_than_an_error__is_cut_off)
{
    size_t len;

    for (len = 480; len < 500; len++) {
        AUTO_FREE char *answer = libspawn__str_format(
            "{\"id\": 1, \"error\": {\"class\": \"X\", \"desc\": \"%0*d"
            "\xc2\xa0\xc2\x80\xc2\x80\xc2\x80\xc2\x80\xc2\x80\"}}\n",
            (int)len, 0);
        AUTO_SCENE struct scene scene;
        char text[512] = "";

        scene_init_ready(&scene);
        assert_ok(libspawn__qmp_command(scene.qmp, "a", NULL, -1,
                                        copy_sentence, text, NULL),
                  NULL);
        scene_settle(&scene);
        peer_says(&scene, answer);
        ck_assert_uint_ge(strlen(text), len);
        ck_assert_uint_lt(strlen(text), sizeof text);
    }
}

TEST(qmp_command_without_a_callback__is_answered_quietly)
{
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    assert_ok(
        libspawn__qmp_command(scene.qmp, "a", NULL, -1, NULL, NULL, NULL),
        NULL);
    scene_settle(&scene);
    peer_says(&scene, "{\"id\": 1, \"return\": 1}\n");
    ck_assert_str_eq(scene.log.data, "");
}

TEST(qmp_descriptor__travels_with_its_command)
{
    static const char first[] = "{\"execute\":\"first\",\"id\":1}\n";
    AUTO_SCENE struct scene scene;
    AUTO_FD int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    AUTO_FD int arrived = -1;
    size_t n_fds = 1;
    char text[256];

    scene_init_ready(&scene);
    scene_command(&scene, "first");
    assert_ok(libspawn__qmp_command(scene.qmp, "add-fd", NULL, fd, log_reply,
                                    &scene, NULL),
              NULL);
    /* It is the caller's, who may close it at once. */
    libspawn__auto_close(&fd);
    fd = -1;
    scene_settle(&scene);
    ck_assert_int_eq(libspawn__stream_recv(scene.peer, text, strlen(first),
                                           &arrived, &n_fds),
                     (ssize_t)strlen(first));
    ck_assert_mem_eq(text, first, strlen(first));
    ck_assert_uint_eq(n_fds, 0);
    n_fds = 1;
    ck_assert_int_gt(
        libspawn__stream_recv(scene.peer, text, sizeof text, &arrived, &n_fds),
        0);
    ck_assert_uint_eq(n_fds, 1);
}

TEST(qmp_descriptor_of_a_command_never_sent__is_closed)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    assert_ok(libspawn__qmp_command(scene.qmp, "add-fd", NULL, scene.peer,
                                    NULL, NULL, NULL),
              NULL);
    /* The harness complains when it is not. */
}

/* ---- Wrong answers ------------------------------------------------------ */

/* Says 'text' to a client that is ready and has asked one thing. */
static void
check_broken(const char *text, const char *expected_log)
{
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    scene_command(&scene, "a");
    scene_settle(&scene);
    peer_says(&scene, text);
    ck_assert_msg(!strcmp(scene.log.data, expected_log), "%s gives %s", text,
                  scene.log.data);
    assert_code(libspawn__qmp_command(scene.qmp, "b", NULL, -1, log_reply,
                                      &scene, NULL),
                LIBSPAWN_ERR_GONE);
}

TEST(qmp_message_against_the_protocol__closes_the_connection)
{
    static const char *const texts[] = {
        "rubbish\n",
        "[]\n",
        "1\n",
        "{}\n",
        GREETING,
        "{\"return\": 1}\n",
        "{\"return\": 1, \"id\": 7}\n",
        "{\"return\": 1, \"id\": \"1\"}\n",
        "{\"return\": 1, \"id\": 0}\n",
        "{\"id\": 1}\n",
        "{\"return\": 1, \"error\": {}, \"id\": 1}\n",
        "{\"error\": {}, \"id\": 1}\n",
        "{\"error\": {\"class\": \"x\"}, \"id\": 1}\n",
        "{\"error\": {\"class\": \"x\", \"desc\": \"y\"}}\n",
        "{\"event\": 1}\n",
        "{\"return\": \"\xff\", \"id\": 1}\n",
        "{\"return\": 1, \"id\": 1} {}\n",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        check_broken(texts[i], "protocol closed:protocol");
    }
}

TEST(qmp_answer_that_comes_twice__closes_the_connection)
{
    check_broken("{\"return\": 3, \"id\": 1}\n{\"return\": 4, \"id\": 1}\n",
                 "3 closed:protocol");
}

TEST(qmp_too_deep_nesting__closes_the_connection)
{
    AUTO_BUF struct libspawn__buf text = { 0 };
    int i;

    libspawn__buf_puts(&text, "{\"id\": 1, \"return\": ");
    for (i = 0; i < LIBSPAWN__JSON_DEPTH_MAX; i++) {
        libspawn__buf_puts(&text, "[");
    }
    libspawn__buf_puts(&text, "\n");
    check_broken(text.data, "protocol closed:protocol");
}

TEST(qmp_first_message_that_is_no_greeting__closes_the_connection)
{
    static const char *const texts[] = { "{\"return\": {}, \"id\": 0}\n",
                                         "{\"event\": \"STOP\"}\n",
                                         "220 mail.example ESMTP\r\n" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(texts); i++) {
        AUTO_SCENE struct scene scene;

        scene_init(&scene);
        peer_says(&scene, texts[i]);
        ck_assert_str_eq(scene.log.data, "closed:protocol");
    }
}

TEST(qmp_refused_negotiation__closes_the_connection)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    scene_command(&scene, "a");
    peer_says(&scene, GREETING);
    peer_says(&scene, "{\"id\": 0, \"error\": {\"class\": \"CommandNotFound\","
                      " \"desc\": \"no\"}}\n");
    ck_assert_str_eq(scene.log.data, "protocol closed:protocol");
}

/* Sends 'size' bytes without a newline, and dispatches meanwhile. */
static void
flood(struct scene *scene, size_t size)
{
    static char block[65536];

    memset(block, ' ', sizeof block);
    while (size) {
        ssize_t n =
            send(scene->peer, block, MIN(size, sizeof block), MSG_NOSIGNAL);

        if (n < 0) {
            ck_assert(errno == EAGAIN || errno == EPIPE ||
                      errno == ECONNRESET);
            if (errno != EAGAIN) {
                return;
            }
            n = 0;
        }
        size -= (size_t)n;
        scene_settle(scene);
    }
}

TEST(qmp_line_that_never_ends__closes_the_connection)
{
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    flood(&scene, LIBSPAWN__LINE_MAX);
    ck_assert_str_eq(scene.log.data, "");
    flood(&scene, 1);
    ck_assert_str_eq(scene.log.data, "closed:protocol");
}

TEST(qmp_longest_line__is_read)
{
    static const char answer[] = "{\"return\": 1, \"id\": 1}";
    AUTO_SCENE struct scene scene;

    scene_init_ready(&scene);
    scene_command(&scene, "a");
    flood(&scene, LIBSPAWN__LINE_MAX - strlen(answer));
    peer_says(&scene, answer);
    peer_says(&scene, "\n");
    ck_assert_str_eq(scene.log.data, "1");
}

TEST_MAIN("qmp")
