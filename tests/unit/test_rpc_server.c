/*
 * The serving end of the control RPC, against peers that the test plays: what
 * they hear, byte for byte, and what a bad one can do.  S12 S13 S14 S15
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "tests/lib/harness.h"
#include "tests/unit/rpc_scene.h"
#include "wire/rpc_link.h"
#include "wire/stream.h"

#define CALL(ID, METHOD, PARAMS)                                              \
    "{\"jsonrpc\":\"2.0\",\"id\":" ID ",\"method\":\"" METHOD                 \
    "\",\"params\":" PARAMS "}\n"
#define RESULT(ID, RESULT_JSON)                                               \
    "{\"jsonrpc\":\"2.0\",\"id\":" ID ",\"result\":" RESULT_JSON "}\n"
#define ERROR(ID, NUMBER, MESSAGE, DATA)                                      \
    "{\"jsonrpc\":\"2.0\",\"id\":" ID ",\"error\":{\"code\":" NUMBER          \
    ",\"message\":\"" MESSAGE "\",\"data\":{" DATA "}}}\n"

TEST(rpc_request__is_answered_with_its_id)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;

    scene_init(&scene);
    peer = peer_connect(&scene);
    peer_says(&scene, peer, CALL("7", "echo", "{\"a\":[1,2.5,\"x\"]}"));
    assert_hears(peer, RESULT("7", "{\"a\":[1,2.5,\"x\"]}"));
    peer_says(&scene, peer, CALL("\"a\\nb\"", "echo", "{}"));
    assert_hears(peer, RESULT("\"a\\nb\"", "{}"));
}

TEST(rpc_refusal__carries_code_sentence_and_errno)
{
    AUTO_SCENE struct scene scene;
    AUTO_FD int peer = -1;

    scene_init(&scene);
    peer = peer_connect(&scene);
    peer_says(&scene, peer, CALL("1", "refuse", "{}"));
    assert_hears(peer, ERROR("1", "-32002",
                             "looking for 'it': No such file or directory",
                             "\"code\":\"not-found\",\"errno\":2"));
}
TEST_MAIN("rpc_server")
