#include "wire/rpc.h"

#include <string.h>

#include "base/util.h"

/* The numbers of errors: three that JSON-RPC defines, all others are ours,
 * -32000 plus the code.  Only for foreign clients: ours read the name. */
enum {
    OWN_NUMBERS = -32000
};

static const struct {
    int code;
    int number;
} standard_numbers[] = {
    { LIBSPAWN_ERR_PROTOCOL, -32600 },
    { LIBSPAWN_ERR_UNSUPPORTED, -32601 },
    { LIBSPAWN_ERR_INVALID, -32602 },
};

static int
error_number(int code)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(standard_numbers); i++) {
        if (standard_numbers[i].code == code) {
            return standard_numbers[i].number;
        }
    }
    return OWN_NUMBERS + code;
}

/* ---- Writing ----------------------------------------------------------- */

/* Text on one line.  Inside a string a line break would be escaped, so all
 * that are there stand between tokens. */
static void
put_json(struct libspawn__buf *line, const char *text)
{
    size_t start = line->size;
    char *at;

    libspawn__buf_puts(line, text);
    if (line->failed) {
        return;
    }
    for (at = strchr(line->data + start, '\n'); at; at = strchr(at, '\n')) {
        *at = ' ';
    }
}

/* Adds what a writer made: the only way to quote a string. */
static void
put_written(struct libspawn__buf *line, struct libspawn__json_writer *writer)
{
    AUTO_FREE char *text = libspawn__json_writer_take(writer);

    if (text) {
        libspawn__buf_puts(line, text);
    } else {
        line->failed = true;
    }
}

static void
put_head(struct libspawn__buf *line, const char *id)
{
    libspawn__buf_puts(line, "{\"jsonrpc\":\"2.0\"");
    if (id) {
        libspawn__buf_puts(line, ",\"id\":");
        libspawn__buf_puts(line, id);
    }
}

void
libspawn__rpc_put_call(struct libspawn__buf *line, const char *id,
                       const char *method, const char *params_json)
{
    struct libspawn__json_writer *writer = libspawn__json_writer_new(false);

    libspawn__json_put_string(writer, NULL, method);
    put_head(line, id);
    libspawn__buf_puts(line, ",\"method\":");
    put_written(line, writer);
    if (params_json) {
        libspawn__buf_puts(line, ",\"params\":");
        put_json(line, params_json);
    }
    libspawn__buf_puts(line, "}\n");
}

void
libspawn__rpc_put_result(struct libspawn__buf *line, const char *id,
                         const char *result_json)
{
    put_head(line, id);
    libspawn__buf_puts(line, ",\"result\":");
    put_json(line, result_json);
    libspawn__buf_puts(line, "}\n");
}

void
libspawn__rpc_put_error(struct libspawn__buf *line, const char *id,
                        const struct libspawn_err *err)
{
    struct libspawn__json_writer *writer = libspawn__json_writer_new(false);

    libspawn__json_begin_object(writer, NULL);
    libspawn__json_put_integer(writer, "code", error_number(err->code));
    libspawn__json_put_string(writer, "message", err->text);
    libspawn__json_begin_object(writer, "data");
    libspawn__json_put_string(writer, "code", libspawn_code_name(err->code));
    if (err->sys_errno) {
        libspawn__json_put_integer(writer, "errno", err->sys_errno);
    }
    libspawn__json_end_object(writer);
    libspawn__json_end_object(writer);
    put_head(line, id ? id : "null");
    libspawn__buf_puts(line, ",\"error\":");
    put_written(line, writer);
    libspawn__buf_puts(line, "}\n");
}

/* ---- Reading ----------------------------------------------------------- */

int
libspawn__rpc_check(const struct libspawn__json *message,
                    struct libspawn_err *err)
{
    if (libspawn__json_get_type(message) != LIBSPAWN__JSON_OBJECT) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "a message is not an object");
    }
    if (!libspawn__str_equal(
            libspawn__json_string(libspawn__json_member(message, "jsonrpc")),
            "2.0")) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "a message is not JSON-RPC 2.0");
    }
    return 0;
}

static int
code_from_name(const char *name)
{
    int code;

    for (code = LIBSPAWN_ERR_SYSTEM; name && code < LIBSPAWN_OK; code++) {
        if (!strcmp(libspawn_code_name(code), name)) {
            return code;
        }
    }
    return LIBSPAWN_OK;
}

static int
code_from_number(const struct libspawn__json *json)
{
    int64_t number;
    size_t i;

    if (libspawn__json_integer(json, &number)) {
        for (i = 0; i < ARRAY_SIZE(standard_numbers); i++) {
            if (standard_numbers[i].number == number) {
                return standard_numbers[i].code;
            }
        }
    }
    return LIBSPAWN_ERR_SYSTEM;
}

void
libspawn__rpc_read_error(const struct libspawn__json *error,
                         struct libspawn_err *err_r)
{
    const struct libspawn__json *data = libspawn__json_member(error, "data");
    const char *text =
        libspawn__json_string(libspawn__json_member(error, "message"));
    int code = code_from_name(
        libspawn__json_string(libspawn__json_member(data, "code")));
    int64_t sys_errno;

    if (!code) {
        code = code_from_number(libspawn__json_member(error, "code"));
    }
    libspawn__fail(err_r, code, "%s", text ? text : "no reason given");
    if (libspawn__json_integer(libspawn__json_member(data, "errno"),
                               &sys_errno) &&
        sys_errno > 0 && sys_errno <= INT32_MAX) {
        err_r->sys_errno = (int)sys_errno;
    }
}
