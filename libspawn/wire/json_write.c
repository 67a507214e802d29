/*
 * The writer: yajl's generator, which prints into our buffer.  The nesting is
 * checked here because yajl takes any string for a key, and more closing
 * brackets than there are opening ones.
 */
#include "wire/json.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_gen.h>

#include "base/str.h"
#include "base/utf8.h"
#include "wire/json_pool.h"

/* As deep as yajl goes, deeper than the reader: what was read can be wrapped
 * in something. */
enum {
    DEPTH_MAX = YAJL_MAX_DEPTH - 1
};

struct libspawn__json_writer {
    yajl_gen gen;
    struct libspawn__json_pool pool; /* gen's memory */
    struct libspawn__buf text;
    bool is_object[DEPTH_MAX]; /* what is open */
    size_t depth;              /* how many of them */
    bool complete;             /* the one value was written */
    bool failed;
};

static void
print(void *user, const char *bytes, size_t size)
{
    libspawn__buf_append(user, bytes, size);
}

static bool
start_generator(struct libspawn__json_writer *writer, bool pretty)
{
    yajl_alloc_funcs memory = libspawn__json_pool_init(&writer->pool);

    if (setjmp(writer->pool.no_memory)) {
        return false;
    }
    writer->gen = yajl_gen_alloc(&memory);
    yajl_gen_config(writer->gen, yajl_gen_beautify, pretty);
    /* From here on it allocates nothing, so nothing jumps back here. */
    yajl_gen_config(writer->gen, yajl_gen_print_callback, print,
                    &writer->text);
    return true;
}

struct libspawn__json_writer *
libspawn__json_writer_new(bool pretty)
{
    struct libspawn__json_writer *writer = calloc(1, sizeof *writer);

    if (writer && !start_generator(writer, pretty)) {
        libspawn__json_writer_free(writer);
        return NULL;
    }
    return writer;
}

void
libspawn__json_writer_free(struct libspawn__json_writer *writer)
{
    if (writer) {
        libspawn__json_pool_dispose(&writer->pool);
        libspawn__buf_dispose(&writer->text);
        free(writer);
    }
}

char *
libspawn__json_writer_take(struct libspawn__json_writer *writer)
{
    char *text = NULL;

    if (writer && writer->complete && !writer->failed) {
        text = libspawn__buf_take(&writer->text);
    }
    libspawn__json_writer_free(writer);
    return text;
}

static void
note(struct libspawn__json_writer *writer, yajl_gen_status status)
{
    if (status != yajl_gen_status_ok) {
        writer->failed = true;
    }
}

static void
write_text(struct libspawn__json_writer *writer, const char *text)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    AUTO_BUF struct libspawn__buf clean = { 0 };
    size_t left = strlen(text);
    size_t good;

    for (;;) {
        good = libspawn__utf8_prefix(text, left);
        libspawn__buf_append(&clean, text, good);
        if (good == left) {
            break;
        }
        libspawn__buf_puts(&clean, replacement);
        text += good + 1;
        left -= good + 1;
    }
    if (clean.failed) {
        writer->failed = true;
        return;
    }
    note(writer,
         yajl_gen_string(writer->gen, (const unsigned char *)clean.data,
                         clean.size));
}

/* Whether a value may come now; if so its key is written. */
static bool
begin_value(struct libspawn__json_writer *writer, const char *key)
{
    bool in_object;

    if (!writer || writer->failed) {
        return false;
    }
    in_object = writer->depth && writer->is_object[writer->depth - 1];
    if (writer->complete || in_object != (key != NULL)) {
        writer->failed = true;
    } else if (key) {
        write_text(writer, key);
    }
    return !writer->failed;
}

static void
end_value(struct libspawn__json_writer *writer, yajl_gen_status status)
{
    note(writer, status);
    writer->complete = !writer->depth;
}

static bool
begin_list(struct libspawn__json_writer *writer, const char *key,
           bool is_object)
{
    if (!begin_value(writer, key)) {
        return false;
    }
    if (writer->depth == DEPTH_MAX) {
        writer->failed = true;
        return false;
    }
    writer->is_object[writer->depth++] = is_object;
    return true;
}

static bool
end_list(struct libspawn__json_writer *writer, bool is_object)
{
    if (!writer || writer->failed) {
        return false;
    }
    if (!writer->depth || writer->is_object[writer->depth - 1] != is_object) {
        writer->failed = true;
        return false;
    }
    writer->depth--;
    return true;
}

void
libspawn__json_begin_object(struct libspawn__json_writer *writer,
                            const char *key)
{
    if (begin_list(writer, key, true)) {
        note(writer, yajl_gen_map_open(writer->gen));
    }
}

void
libspawn__json_end_object(struct libspawn__json_writer *writer)
{
    if (end_list(writer, true)) {
        end_value(writer, yajl_gen_map_close(writer->gen));
    }
}

void
libspawn__json_begin_array(struct libspawn__json_writer *writer,
                           const char *key)
{
    if (begin_list(writer, key, false)) {
        note(writer, yajl_gen_array_open(writer->gen));
    }
}

void
libspawn__json_end_array(struct libspawn__json_writer *writer)
{
    if (end_list(writer, false)) {
        end_value(writer, yajl_gen_array_close(writer->gen));
    }
}

void
libspawn__json_put_string(struct libspawn__json_writer *writer,
                          const char *key, const char *value)
{
    if (!value) {
        libspawn__json_put_null(writer, key);
    } else if (begin_value(writer, key)) {
        write_text(writer, value);
        end_value(writer, yajl_gen_status_ok);
    }
}

void
libspawn__json_put_integer(struct libspawn__json_writer *writer,
                           const char *key, int64_t value)
{
    if (begin_value(writer, key)) {
        end_value(writer, yajl_gen_integer(writer->gen, value));
    }
}

/* As short as gives the same number back, and never what reads as an
 * integer.  yajl's own way depends on the locale. */
static void
format_double(double value, char *text, size_t size)
{
    locale_t old = uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0));

    snprintf(text, size, "%.15g", value);
    if (strtod(text, NULL) != value) {
        snprintf(text, size, "%.17g", value);
    }
    uselocale(old);
    if (!text[strspn(text, "-0123456789")]) {
        snprintf(text + strlen(text), size - strlen(text), ".0");
    }
}

void
libspawn__json_put_double(struct libspawn__json_writer *writer,
                          const char *key, double value)
{
    char text[40];

    if (!begin_value(writer, key)) {
        return;
    }
    if (!isfinite(value)) {
        writer->failed = true;
        return;
    }
    format_double(value, text, sizeof text);
    end_value(writer, yajl_gen_number(writer->gen, text, strlen(text)));
}

void
libspawn__json_put_bool(struct libspawn__json_writer *writer, const char *key,
                        bool value)
{
    if (begin_value(writer, key)) {
        end_value(writer, yajl_gen_bool(writer->gen, value));
    }
}

void
libspawn__json_put_null(struct libspawn__json_writer *writer, const char *key)
{
    if (begin_value(writer, key)) {
        end_value(writer, yajl_gen_null(writer->gen));
    }
}

static void
put_items(struct libspawn__json_writer *writer,
          const struct libspawn__json *list)
{
    size_t i;

    for (i = 0; i < libspawn__json_n_items(list); i++) {
        libspawn__json_put(writer, libspawn__json_key(list, i),
                           libspawn__json_item(list, i));
    }
}

void
libspawn__json_put(struct libspawn__json_writer *writer, const char *key,
                   const struct libspawn__json *json)
{
    int64_t integer = 0;
    double real = 0;

    switch (libspawn__json_get_type(json)) {
    case LIBSPAWN__JSON_NULL:
        libspawn__json_put_null(writer, key);
        break;
    case LIBSPAWN__JSON_BOOL:
        libspawn__json_put_bool(writer, key, libspawn__json_bool(json, false));
        break;
    case LIBSPAWN__JSON_INTEGER:
        libspawn__json_integer(json, &integer);
        libspawn__json_put_integer(writer, key, integer);
        break;
    case LIBSPAWN__JSON_DOUBLE:
        libspawn__json_double(json, &real);
        libspawn__json_put_double(writer, key, real);
        break;
    case LIBSPAWN__JSON_STRING:
        libspawn__json_put_string(writer, key, libspawn__json_string(json));
        break;
    case LIBSPAWN__JSON_ARRAY:
        libspawn__json_begin_array(writer, key);
        put_items(writer, json);
        libspawn__json_end_array(writer);
        break;
    case LIBSPAWN__JSON_OBJECT:
        libspawn__json_begin_object(writer, key);
        put_items(writer, json);
        libspawn__json_end_object(writer);
        break;
    }
}

char *
libspawn__json_to_text(const struct libspawn__json *json)
{
    struct libspawn__json_writer *writer = libspawn__json_writer_new(false);

    libspawn__json_put(writer, NULL, json);
    return libspawn__json_writer_take(writer);
}

int
libspawn__json_copy(const struct libspawn__json *json,
                    struct libspawn__json **copy_r, struct libspawn_err *err)
{
    AUTO_FREE char *text = libspawn__json_to_text(json);

    if (!text) {
        return libspawn__fail_nomem(err);
    }
    return libspawn__json_parse(text, strlen(text), SIZE_MAX, copy_r, err);
}
