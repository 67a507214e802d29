#include "wire/json_pool.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

union block {
    struct libspawn__list link;
    max_align_t align;
};

static void *
pool_realloc(void *user, void *pointer, size_t size)
{
    struct libspawn__json_pool *pool = user;
    union block *block = NULL;

    if (pointer) {
        block = (union block *)pointer - 1;
        libspawn__list_remove(&block->link);
    }
    if (size <= SIZE_MAX - sizeof *block) {
        union block *larger = realloc(block, sizeof *block + size);

        if (larger) {
            libspawn__list_append(&pool->blocks, &larger->link);
            return larger + 1;
        }
    }
    free(block);
    longjmp(pool->no_memory, 1);
}

static void *
pool_malloc(void *user, size_t size)
{
    return pool_realloc(user, NULL, size);
}

static void
pool_free(void *user, void *pointer)
{
    (void)user;
    if (pointer) {
        union block *block = (union block *)pointer - 1;

        libspawn__list_remove(&block->link);
        free(block);
    }
}

void
libspawn__json_pool_dispose(struct libspawn__json_pool *pool)
{
    while (!libspawn__list_is_empty(&pool->blocks)) {
        union block *block =
            CONTAINER_OF(pool->blocks.next, union block, link);

        libspawn__list_remove(&block->link);
        free(block);
    }
}

yajl_alloc_funcs
libspawn__json_pool_init(struct libspawn__json_pool *pool)
{
    libspawn__list_init(&pool->blocks);
    return (yajl_alloc_funcs){ .malloc = pool_malloc,
                               .realloc = pool_realloc,
                               .free = pool_free,
                               .ctx = pool };
}
