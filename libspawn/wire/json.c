/*
 * The tree, and the reader that builds it.
 */
#include "wire/json.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "base/auto.h"
#include "base/utf8.h"
#include "base/util.h"
#include "wire/json_pool.h"

struct libspawn__json {
    enum libspawn__json_type type;
    char *key; /* the name of a member of an object, else NULL */
    union {
        bool boolean;
        int64_t integer;
        double real;
        char *string;
        struct {
            struct libspawn__json **items;
            size_t n_items;
            size_t n_allocated;
        } list; /* an array or an object */
    };
};

/* ---- The tree ---------------------------------------------------------- */

static bool
is_list(const struct libspawn__json *json)
{
    return json && (json->type == LIBSPAWN__JSON_ARRAY ||
                    json->type == LIBSPAWN__JSON_OBJECT);
}

void
libspawn__json_free(struct libspawn__json *json)
{
    size_t i;

    if (!json) {
        return;
    }
    if (is_list(json)) {
        for (i = 0; i < json->list.n_items; i++) {
            libspawn__json_free(json->list.items[i]);
        }
        free(json->list.items);
    } else if (json->type == LIBSPAWN__JSON_STRING) {
        free(json->string);
    }
    free(json->key);
    free(json);
}

enum libspawn__json_type
libspawn__json_get_type(const struct libspawn__json *json)
{
    return json ? json->type : LIBSPAWN__JSON_NULL;
}

const struct libspawn__json *
libspawn__json_member(const struct libspawn__json *object, const char *key)
{
    size_t i;

    if (libspawn__json_get_type(object) != LIBSPAWN__JSON_OBJECT) {
        return NULL;
    }
    for (i = 0; i < object->list.n_items; i++) {
        if (!strcmp(object->list.items[i]->key, key)) {
            return object->list.items[i];
        }
    }
    return NULL;
}

size_t
libspawn__json_n_items(const struct libspawn__json *array_or_object)
{
    return is_list(array_or_object) ? array_or_object->list.n_items : 0;
}

const struct libspawn__json *
libspawn__json_item(const struct libspawn__json *array_or_object, size_t index)
{
    return index < libspawn__json_n_items(array_or_object)
               ? array_or_object->list.items[index]
               : NULL;
}

const char *
libspawn__json_key(const struct libspawn__json *object, size_t index)
{
    const struct libspawn__json *member = libspawn__json_item(object, index);

    return member ? member->key : NULL;
}

const char *
libspawn__json_string(const struct libspawn__json *json)
{
    return json && json->type == LIBSPAWN__JSON_STRING ? json->string : NULL;
}

bool
libspawn__json_integer(const struct libspawn__json *json, int64_t *value_r)
{
    if (!json || json->type != LIBSPAWN__JSON_INTEGER) {
        return false;
    }
    *value_r = json->integer;
    return true;
}

bool
libspawn__json_double(const struct libspawn__json *json, double *value_r)
{
    if (!json || (json->type != LIBSPAWN__JSON_DOUBLE &&
                  json->type != LIBSPAWN__JSON_INTEGER)) {
        return false;
    }
    *value_r = json->type == LIBSPAWN__JSON_DOUBLE ? json->real
                                                   : (double)json->integer;
    return true;
}

bool
libspawn__json_bool(const struct libspawn__json *json, bool fallback)
{
    return json && json->type == LIBSPAWN__JSON_BOOL ? json->boolean
                                                     : fallback;
}

/* ---- Reading ----------------------------------------------------------- */

/* What yajl's callbacks return. */
enum {
    CANCEL = 0,
    CONTINUE = 1
};

struct reader {
    struct libspawn__json_pool pool;
    struct libspawn__json *root; /* owns all that was read so far */
    struct libspawn__json *open[LIBSPAWN__JSON_DEPTH_MAX];
    size_t depth; /* how many of them are open */
    char *key;    /* the one whose value comes next */
    int rc;       /* why a callback said CANCEL */
    struct libspawn_err *err;
};

static int
refuse(struct reader *reader, const char *reason)
{
    reader->rc = libspawn__fail(reader->err, LIBSPAWN_ERR_PROTOCOL,
                                "reading JSON: %s", reason);
    return CANCEL;
}

static int
cancel_nomem(struct reader *reader)
{
    reader->rc = libspawn__fail_nomem(reader->err);
    return CANCEL;
}

/* Puts a new value where the text has it; NULL without memory. */
static struct libspawn__json *
add_value(struct reader *reader, enum libspawn__json_type type)
{
    struct libspawn__json *json = calloc(1, sizeof *json);
    struct libspawn__json *parent;

    if (!json) {
        return NULL;
    }
    json->type = type;
    if (!reader->depth) {
        reader->root = json;
        return json;
    }
    parent = reader->open[reader->depth - 1];
    if (parent->list.n_items == parent->list.n_allocated) {
        size_t n_wanted = MAX(parent->list.n_allocated * 2, 4);
        struct libspawn__json **items =
            reallocarray(parent->list.items, n_wanted, sizeof *items);

        if (!items) {
            free(json);
            return NULL;
        }
        parent->list.items = items;
        parent->list.n_allocated = n_wanted;
    }
    json->key = TAKE_PTR(reader->key);
    parent->list.items[parent->list.n_items++] = json;
    return json;
}

static int
on_null(void *user)
{
    struct reader *reader = user;

    return add_value(reader, LIBSPAWN__JSON_NULL) ? CONTINUE
                                                  : cancel_nomem(reader);
}

static int
on_boolean(void *user, int value)
{
    struct reader *reader = user;
    struct libspawn__json *json = add_value(reader, LIBSPAWN__JSON_BOOL);

    if (!json) {
        return cancel_nomem(reader);
    }
    json->boolean = value;
    return CONTINUE;
}

static int
on_number(void *user, const char *digits, size_t size)
{
    enum {
        NUMBER_LEN_MAX = 128
    };
    struct reader *reader = user;
    struct libspawn__json *json;
    char text[NUMBER_LEN_MAX + 1];
    /* glibc has a constant for this one: nothing to free, no failure. */
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);

    if (size > NUMBER_LEN_MAX) {
        return refuse(reader, "a number is too long");
    }
    memcpy(text, digits, size);
    text[size] = '\0';

    json = add_value(reader, LIBSPAWN__JSON_INTEGER);
    if (!json) {
        return cancel_nomem(reader);
    }
    errno = 0;
    json->integer = strtoll(text, NULL, 10);
    if (errno == ERANGE || text[strcspn(text, ".eE")]) {
        json->type = LIBSPAWN__JSON_DOUBLE;
        json->real = strtod_l(text, NULL, c_locale);
        if (!isfinite(json->real)) {
            return refuse(reader, "a number is out of range");
        }
    }
    return CONTINUE;
}

/* A new string from what yajl found, or NULL when it was cancelled. */
static char *
copy_text(struct reader *reader, const unsigned char *text, size_t size)
{
    char *copy;

    /* yajl lets surrogates and overlong forms pass. */
    if (libspawn__utf8_prefix((const char *)text, size) < size) {
        refuse(reader, "a string is not UTF-8");
        return NULL;
    }
    if (memchr(text, '\0', size)) {
        refuse(reader, "a string holds a NUL character");
        return NULL;
    }
    copy = strndup((const char *)text, size);
    if (!copy) {
        cancel_nomem(reader);
    }
    return copy;
}

static int
on_string(void *user, const unsigned char *text, size_t size)
{
    struct reader *reader = user;
    AUTO_FREE char *copy = copy_text(reader, text, size);
    struct libspawn__json *json;

    if (!copy) {
        return CANCEL;
    }
    json = add_value(reader, LIBSPAWN__JSON_STRING);
    if (!json) {
        return cancel_nomem(reader);
    }
    json->string = TAKE_PTR(copy);
    return CONTINUE;
}

static int
open_list(struct reader *reader, enum libspawn__json_type type)
{
    struct libspawn__json *json;

    if (reader->depth == LIBSPAWN__JSON_DEPTH_MAX) {
        return refuse(reader, "too deep nesting");
    }
    json = add_value(reader, type);
    if (!json) {
        return cancel_nomem(reader);
    }
    reader->open[reader->depth++] = json;
    return CONTINUE;
}

static int
on_start_map(void *user)
{
    return open_list(user, LIBSPAWN__JSON_OBJECT);
}

static int
on_map_key(void *user, const unsigned char *text, size_t size)
{
    struct reader *reader = user;

    if (size > LIBSPAWN__JSON_KEY_MAX) {
        return refuse(reader, "a key is too long");
    }
    reader->key = copy_text(reader, text, size);
    return reader->key ? CONTINUE : CANCEL;
}

static int
compare_keys(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* At its end, by sorting: looking at each key as it comes would take a time
 * that grows with the square of what a hostile peer sends. */
static int
on_end_map(void *user)
{
    struct reader *reader = user;
    const struct libspawn__json *object = reader->open[--reader->depth];
    size_t n_keys = object->list.n_items;
    AUTO_FREE char **keys = NULL;
    size_t i;

    if (n_keys < 2) {
        return CONTINUE;
    }
    keys = reallocarray(NULL, n_keys, sizeof *keys);
    if (!keys) {
        return cancel_nomem(reader);
    }
    for (i = 0; i < n_keys; i++) {
        keys[i] = object->list.items[i]->key;
    }
    qsort(keys, n_keys, sizeof *keys, compare_keys);
    for (i = 1; i < n_keys; i++) {
        if (!strcmp(keys[i - 1], keys[i])) {
            return refuse(reader, "a key appears twice");
        }
    }
    return CONTINUE;
}

static int
on_start_array(void *user)
{
    return open_list(user, LIBSPAWN__JSON_ARRAY);
}

static int
on_end_array(void *user)
{
    struct reader *reader = user;

    reader->depth--;
    return CONTINUE;
}

static const yajl_callbacks reader_callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_start_map,
    .yajl_map_key = on_map_key,
    .yajl_end_map = on_end_map,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end_array,
};

static int
fail_malformed(struct reader *reader, yajl_handle handle)
{
    /* Two words of classification, a colon, the reason, a newline. */
    unsigned char *reason = yajl_get_error(handle, 0, NULL, 0);

    return libspawn__fail(reader->err, LIBSPAWN_ERR_PROTOCOL,
                          "reading JSON: %.*s at byte %zu",
                          (int)strcspn((char *)reason, "\n"), (char *)reason,
                          yajl_get_bytes_consumed(handle));
}

/* What yajl allocates stays in the pool, however this ends. */
static int
read_text(struct reader *reader, yajl_alloc_funcs *memory, const char *text,
          size_t size)
{
    yajl_handle handle;
    yajl_status status;

    if (setjmp(reader->pool.no_memory)) {
        return libspawn__fail_nomem(reader->err);
    }
    handle = yajl_alloc(&reader_callbacks, memory, reader);
    status = yajl_parse(handle, (const unsigned char *)text, size);
    if (status == yajl_status_ok) {
        status = yajl_complete_parse(handle);
    }
    if (status == yajl_status_client_canceled) {
        return reader->rc;
    }
    return status == yajl_status_ok ? 0 : fail_malformed(reader, handle);
}

int
libspawn__json_parse(const char *text, size_t size, size_t max_size,
                     struct libspawn__json **json_r, struct libspawn_err *err)
{
    struct reader reader = { .err = err };
    yajl_alloc_funcs memory;
    int rc;

    if (size > max_size) {
        return libspawn__fail(err, LIBSPAWN_ERR_PROTOCOL,
                              "reading JSON: more than %zu bytes", max_size);
    }
    memory = libspawn__json_pool_init(&reader.pool);
    rc = read_text(&reader, &memory, text, size);
    libspawn__json_pool_dispose(&reader.pool);
    free(reader.key);
    if (rc) {
        libspawn__json_free(reader.root);
        return rc;
    }
    *json_r = reader.root;
    return 0;
}
