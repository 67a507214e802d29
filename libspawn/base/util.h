/*
 * The few macros that every file may use.
 */
#ifndef LIBSPAWN_BASE_UTIL_H
#define LIBSPAWN_BASE_UTIL_H

#include <stddef.h>

#define ARRAY_SIZE(ARRAY) (sizeof(ARRAY) / sizeof(ARRAY)[0])

/* The structure of type TYPE whose member MEMBER is at PTR. */
#define CONTAINER_OF(PTR, TYPE, MEMBER)                                       \
    ((TYPE *)(void *)((char *)(PTR)-offsetof(TYPE, MEMBER)))

#define MIN(A, B) ((A) < (B) ? (A) : (B))
#define MAX(A, B) ((A) > (B) ? (A) : (B))

#endif
