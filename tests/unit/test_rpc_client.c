/*
 * The asking end of the control RPC, against our own server and against one
 * that the test plays.  S3 S4 S5 S6 S12
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/harness.h"
#include "tests/unit/rpc_scene.h"
#include "wire/stream.h"

TEST(rpc_call__brings_the_result)
{
    AUTO_SCENE struct scene scene;

    scene_init(&scene);
    scene_connect(&scene, "unix:rpc");
    scene_call(&scene, "echo", "{\"a\":1}");
    scene_call(&scene, "refuse", NULL);
    scene_settle(&scene);
    assert_log(&scene, "{\"a\":1} not-found");
}

TEST_MAIN("rpc_client")
