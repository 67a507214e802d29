/*
 * JSON, read and written with yajl, which only wire/json*.c include.
 *
 * The reader builds a tree and trusts nothing: text over 'max_size', nesting
 * over LIBSPAWN__JSON_DEPTH_MAX, a key that comes twice in one object or is
 * longer than LIBSPAWN__JSON_KEY_MAX bytes, a string that is not UTF-8 or that
 * holds a NUL, a number beyond the range of double, and anything before or
 * behind the one value but blanks are LIBSPAWN_ERR_PROTOCOL.  Numbers are kept
 * as int64 when they are integers in its range, else as double.  The locale
 * has no influence.
 */
#ifndef LIBSPAWN_WIRE_JSON_H
#define LIBSPAWN_WIRE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    LIBSPAWN__JSON_DEPTH_MAX = 64,
    LIBSPAWN__JSON_KEY_MAX = 255
};

enum libspawn__json_type {
    LIBSPAWN__JSON_NULL,
    LIBSPAWN__JSON_BOOL,
    LIBSPAWN__JSON_INTEGER,
    LIBSPAWN__JSON_DOUBLE,
    LIBSPAWN__JSON_STRING,
    LIBSPAWN__JSON_ARRAY,
    LIBSPAWN__JSON_OBJECT
};

struct libspawn__json; /* one value, which owns all below it */

int libspawn__json_parse(const char *text, size_t size, size_t max_size,
                         struct libspawn__json **json_r,
                         struct libspawn_err *err);
void libspawn__json_free(struct libspawn__json *json);

static inline void
libspawn__json_auto_free(struct libspawn__json **json)
{
    libspawn__json_free(*json);
}
#define AUTO_JSON __attribute__((cleanup(libspawn__json_auto_free)))

/* Every accessor takes NULL, and a value of another type, for "not there". */
enum libspawn__json_type
libspawn__json_get_type(const struct libspawn__json *json);
const struct libspawn__json *
libspawn__json_member(const struct libspawn__json *object, const char *key);
size_t libspawn__json_n_items(const struct libspawn__json *array_or_object);
const struct libspawn__json *
libspawn__json_item(const struct libspawn__json *array_or_object,
                    size_t index);
const char *libspawn__json_key(const struct libspawn__json *object,
                               size_t index);
const char *libspawn__json_string(const struct libspawn__json *json);
bool libspawn__json_integer(const struct libspawn__json *json,
                            int64_t *value_r); /* false: not an integer */
bool libspawn__json_double(const struct libspawn__json *json,
                           double *value_r); /* an integer is one, too */
bool libspawn__json_bool(const struct libspawn__json *json, bool fallback);

/* The value as text, without blanks; free with free(3), or NULL without
 * memory. */
char *libspawn__json_to_text(const struct libspawn__json *json);

/* A tree of its own, for what is only borrowed. */
int libspawn__json_copy(const struct libspawn__json *json,
                        struct libspawn__json **copy_r,
                        struct libspawn_err *err);

/* ---- Writing -----------------------------------------------------------
 *
 * A writer remembers that it failed (no memory, wrong nesting, too deep, a
 * number that is not finite); one check at the end, by
 * libspawn__json_writer_take.  Every function takes a NULL writer, so that
 * libspawn__json_writer_new needs no check of its own.  A string that is not
 * UTF-8 is written with U+FFFD in place of what is wrong; NULL is written as
 * null.  Inside an object 'key' names the member; elsewhere it is NULL.
 */
struct libspawn__json_writer;

struct libspawn__json_writer *
libspawn__json_writer_new(bool pretty); /* or NULL */
void libspawn__json_writer_free(struct libspawn__json_writer *writer);
void libspawn__json_begin_object(struct libspawn__json_writer *writer,
                                 const char *key);
void libspawn__json_end_object(struct libspawn__json_writer *writer);
void libspawn__json_begin_array(struct libspawn__json_writer *writer,
                                const char *key);
void libspawn__json_end_array(struct libspawn__json_writer *writer);
void libspawn__json_put_string(struct libspawn__json_writer *writer,
                               const char *key, const char *value);
void libspawn__json_put_integer(struct libspawn__json_writer *writer,
                                const char *key, int64_t value);
void libspawn__json_put_double(struct libspawn__json_writer *writer,
                               const char *key, double value);
void libspawn__json_put_bool(struct libspawn__json_writer *writer,
                             const char *key, bool value);
void libspawn__json_put_null(struct libspawn__json_writer *writer,
                             const char *key);
void libspawn__json_put(struct libspawn__json_writer *writer, const char *key,
                        const struct libspawn__json *json); /* a whole tree */

/* The text, which the caller frees, or NULL when anything failed; 'writer'
 * (NULL is fine) is freed in every case. */
char *libspawn__json_writer_take(struct libspawn__json_writer *writer);

#endif
