/*
 * With --json there is one JSON value on stdout, whatever happens: what was
 * asked for, or one object that names the error.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "tests/cli/xl_story.h"
#include "wire/json.h"

/* One line with one object of this error, and on stderr the same sentence. */
static void
assert_error_object(const struct harness_output *output, int status,
                    const char *code, const char *words)
{
    AUTO_JSON struct libspawn__json *json = NULL;
    AUTO_FREE char *first = strndup(output->err, strcspn(output->err, "\n"));
    AUTO_FREE char *sentence = NULL;
    const char *message;
    struct libspawn_err err;

    ck_assert_msg(output->status == status, "the status is %d, not %d:\n%s",
                  output->status, status, output->err);
    assert_ok(libspawn__json_parse(output->out, strlen(output->out), 1 << 20,
                                   &json, &err),
              &err);
    ck_assert_ptr_eq(strchr(output->out, '\n'),
                     output->out + strlen(output->out) - 1);
    ck_assert_str_eq(
        libspawn__json_string(libspawn__json_member(json, "error")), code);
    message = libspawn__json_string(libspawn__json_member(json, "message"));
    assert_contains(message, words);
    sentence = libspawn__str_format("xl: %s", message);
    ck_assert_str_eq(first, sentence);
}

#define ASSERT_ERROR_OBJECT(STATUS, CODE, WORDS, ...)                         \
    do {                                                                      \
        AUTO_OUTPUT struct harness_output output_ = xl_run(__VA_ARGS__);      \
                                                                              \
        assert_error_object(&output_, (STATUS), (CODE), (WORDS));             \
    } while (0)

TEST_TIMEOUT(list_without_guests__is_an_empty_array_on_one_line, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output table = { 0 };
    AUTO_OUTPUT struct harness_output configs = { 0 };

    xl_begin();
    table = xl_run("list", "--json");
    configs = xl_run("list", "-l");
    xl_assert_ok(&table);
    xl_assert_ok(&configs);
    ck_assert_str_eq(table.out, "[]\n");
    ck_assert_str_eq(configs.out, "[]\n");
}

/* A script that reads stdout must not be left without a word. */
TEST_TIMEOUT(host_that_cannot_be_opened__is_the_error_object, XL_TEST_S)
{
    xl_begin();
    xl_write_model_config("'--exit=3'");
    setenv("XL_STATE_DIR", "/nonexistent/a", 1);
    ASSERT_ERROR_OBJECT(1, "not-found", "/nonexistent/a", "list", "--json");
    ASSERT_ERROR_OBJECT(1, "not-found", "/nonexistent/a", "version", "--json");
    ASSERT_ERROR_OBJECT(1, "not-found", "/nonexistent/a", "create", "--json",
                        XL_CONFIG);
}

TEST_TIMEOUT(create_that_fails_before_the_guest_exists__has_its_name_too,
             XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };

    xl_begin();
    xl_write_model_config("'--exit=3'");
    setenv("XL_STATE_DIR", "/nonexistent/a", 1);
    output = xl_run("create", "--json", XL_CONFIG);
    assert_contains(output.out, "{\"name\":\"" XL_GUEST "\",\"error\":");
}

TEST_TIMEOUT(guest_that_does_not_exist__is_the_error_object, XL_TEST_S)
{
    xl_begin();
    ASSERT_ERROR_OBJECT(1, "not-found", "there is no guest 'ghost'", "list",
                        "--json", "ghost");
}

TEST_TIMEOUT(configuration_that_is_wrong__is_the_error_object, XL_TEST_S)
{
    xl_begin();
    harness_write_file(XL_CONFIG, "name = \"x\"\nmemory = -1\n");
    ASSERT_ERROR_OBJECT(1, "invalid", XL_CONFIG ":2:", "create", "--json",
                        XL_CONFIG);
    ASSERT_ERROR_OBJECT(1, "not-found", "missing.cfg", "create", "--json",
                        "missing.cfg");
}

/* Wherever --json stands. */
TEST_TIMEOUT(wrong_usage__is_the_error_object_too, XL_TEST_S)
{
    xl_begin();
    ASSERT_ERROR_OBJECT(2, "invalid", "'--flux'", "list", "--json", "--flux");
    ASSERT_ERROR_OBJECT(2, "invalid", "'--flux'", "list", "--flux", "--json");
    ASSERT_ERROR_OBJECT(2, "invalid", "--timeout", "create", "--timeout=x",
                        "--json", XL_CONFIG);
    ASSERT_ERROR_OBJECT(2, "invalid", "which configuration", "create",
                        "--json");
}

TEST_TIMEOUT(model_that_fails__is_one_object_with_its_report, XL_TEST_S)
{
    AUTO_OUTPUT struct harness_output output = { 0 };
    AUTO_JSON struct libspawn__json *json = NULL;
    int64_t code = 0;

    xl_begin();
    xl_write_model_config("'--exit=37'");
    output = xl_run("create", "--json", XL_CONFIG);
    assert_error_object(&output, 37, "child", "exited with status 37");
    assert_ok(libspawn__json_parse(output.out, strlen(output.out), 1 << 20,
                                   &json, NULL),
              NULL);
    ck_assert(libspawn__json_integer(
        libspawn__json_member(libspawn__json_member(json, "report"),
                              "exit_code"),
        &code));
    ck_assert_int_eq(code, 37);
}

TEST_MAIN("xl_json")
