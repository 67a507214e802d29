/*
 * What QEMU says about its terminals and its display; it is not trusted.
 */
#include <string.h>

#include "base/auto.h"
#include "guest/xen/announce.h"
#include "tests/lib/harness.h"
#include "tests/unit/xen_scene.h"

static struct scene scene;

static int
serials(const char *text)
{
    AUTO_JSON struct libspawn__json *json = NULL;

    assert_ok(libspawn__json_parse(text, strlen(text), 4096, &json, NULL),
              NULL);
    return libspawn__xen_announce_serials(&scene.xen, 7, json, NULL);
}

static int
vnc(const char *text, const char *password)
{
    AUTO_JSON struct libspawn__json *json = NULL;

    assert_ok(libspawn__json_parse(text, strlen(text), 4096, &json, NULL),
              NULL);
    return libspawn__xen_announce_vnc(&scene.xen, 7, json, password, NULL);
}

TEST(serials_on_terminals__are_written_by_number)
{
    scene_open(&scene);
    assert_ok(
        serials("[{\"label\":\"qmp\",\"filename\":\"unix:/x,server\"},"
                "{\"label\":\"serial0\",\"filename\":\"pty:/dev/pts/4\"},"
                "{\"label\":\"serial1\",\"filename\":\"null\"},"
                "{\"label\":\"serial2\","
                "\"filename\":\"pty:/dev/pts/11\"}]"),
        NULL);
    assert_node(&scene, "/local/domain/7/serial/0/tty", "/dev/pts/4");
    assert_node(&scene, "/local/domain/7/serial/1/tty", NULL);
    assert_node(&scene, "/local/domain/7/serial/2/tty", "/dev/pts/11");
    scene_close(&scene);
}

TEST(serials_of_a_lying_device_model__are_not_written)
{
    static const char *const answers[] = {
        "[{\"label\":\"serial0\",\"filename\":\"pty:/dev/pts/../sda\"}]",
        "[{\"label\":\"serial0\",\"filename\":\"pty:/etc/passwd\"}]",
        "[{\"label\":\"serial0\",\"filename\":\"pty:/dev/pts/\"}]",
        "[{\"label\":\"serial0\",\"filename\":\"pty\"}]",
        "[{\"label\":\"serial0\"}]",
        "[{\"label\":7,\"filename\":\"pty:/dev/pts/1\"}]",
        "[{\"label\":\"serial99\",\"filename\":\"pty:/dev/pts/1\"}]",
        "[{\"label\":\"serial0/../../8\",\"filename\":\"pty:/dev/pts/1\"}]",
        "{\"label\":\"serial0\",\"filename\":\"pty:/dev/pts/1\"}",
        "[1, null, []]",
        "null",
    };
    size_t i;

    scene_open(&scene);
    for (i = 0; i < ARRAY_SIZE(answers); i++) {
        AUTO_FREE char *value = NULL;

        assert_ok(serials(answers[i]), NULL);
        value = scene_read(&scene, "/local/domain/7/serial");
        ck_assert_msg(!value, "%s", answers[i]);
    }
    scene_close(&scene);
}

TEST(vnc_that_is_on__is_written_with_a_private_password)
{
    scene_open(&scene);
    assert_ok(vnc("{\"enabled\":true,\"host\":\"127.0.0.1\","
                  "\"service\":\"5901\"}",
                  "sesame"),
              NULL);
    assert_node(&scene, "/local/domain/7/console/vnc-listen", "127.0.0.1");
    assert_node(&scene, "/local/domain/7/console/vnc-port", "5901");
    assert_node(&scene, "/local/domain/7/console/vnc-pass", "sesame");
    assert_perms(&scene, "/local/domain/7/console/vnc-pass", "n0");
    scene_close(&scene);
}

TEST(vnc_that_is_off__is_not_written)
{
    scene_open(&scene);
    assert_ok(vnc("{\"enabled\":false}", NULL), NULL);
    assert_node(&scene, "/local/domain/7/console/vnc-port", NULL);
    scene_close(&scene);
}

TEST(vnc_without_a_port__is_the_device_models_fault)
{
    scene_open(&scene);
    assert_code(vnc("{\"enabled\":true,\"host\":\"::1\"}", NULL),
                LIBSPAWN_ERR_PROTOCOL);
    assert_code(vnc("{\"enabled\":true,\"host\":\"::1\","
                    "\"service\":\"70000\"}",
                    NULL),
                LIBSPAWN_ERR_PROTOCOL);
    assert_code(
        vnc("{\"enabled\":true,\"host\":5,\"service\":\"5900\"}", NULL),
        LIBSPAWN_ERR_PROTOCOL);
    scene_close(&scene);
}

TEST_MAIN("xen_announce")
