/*
 * Values of QEMU's options: "WORD,KEY=VALUE,...", where a comma inside a
 * value is doubled.
 */
#ifndef TOOLS_TEST_DEVICE_MODEL_KEYVAL_H
#define TOOLS_TEST_DEVICE_MODEL_KEYVAL_H

#include <stdbool.h>

/* The value of 'key' as a new string; NULL when it is not there, or without
 * memory. */
char *keyval_get(const char *text, const char *key);

/* Whether 'key' is there and has this value. */
bool keyval_is(const char *text, const char *key, const char *value);

#endif
