/*
 * Memory for yajl.
 *
 * yajl does not look at what its allocation functions return, so these never
 * return NULL: they leave it altogether, by longjmp to 'no_memory', which the
 * caller set before it called yajl.  What yajl had allocated by then is freed
 * with the pool, and so may be everything else: no need to tell yajl.
 *
 * Only for the files wire/json*.c, the only ones that include yajl.
 */
#ifndef LIBSPAWN_WIRE_JSON_POOL_H
#define LIBSPAWN_WIRE_JSON_POOL_H

#include <setjmp.h>
#include <yajl/yajl_common.h>

#include "base/list.h"

struct libspawn__json_pool {
    struct libspawn__list blocks;
    jmp_buf no_memory;
};

/* The functions to give to yajl, for as long as the pool lives. */
yajl_alloc_funcs libspawn__json_pool_init(struct libspawn__json_pool *pool);
void libspawn__json_pool_dispose(struct libspawn__json_pool *pool);

#endif
