#include "tests/lib/memory.h"

#include <stdarg.h>
#include <stddef.h>

static long n_until_failure; /* 0: none fails */
static bool fails_for_good;
static bool has_failed;

void
memory_fail_at(long n, bool for_good)
{
    n_until_failure = n;
    fails_for_good = for_good;
    has_failed = false;
}

bool
memory_stop_failing(void)
{
    n_until_failure = 0;
    return has_failed;
}

static bool
fails(void)
{
    if (n_until_failure != 1) {
        n_until_failure -= n_until_failure > 1;
        return false;
    }
    n_until_failure = fails_for_good;
    has_failed = true;
    return true;
}

#define WRAP(TYPE, NAME, PARAMETERS, ARGUMENTS, FAILURE)                      \
    TYPE __real_##NAME PARAMETERS;                                            \
    TYPE __wrap_##NAME PARAMETERS;                                            \
    TYPE __wrap_##NAME PARAMETERS                                             \
    {                                                                         \
        return fails() ? FAILURE : __real_##NAME ARGUMENTS;                   \
    }

WRAP(void *, malloc, (size_t size), (size), NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL)
WRAP(void *, realloc, (void *old, size_t size), (old, size), NULL)
WRAP(void *, reallocarray, (void *old, size_t n, size_t size), (old, n, size),
     NULL)
WRAP(char *, strdup, (const char *text), (text), NULL)
WRAP(char *, strndup, (const char *text, size_t size), (text, size), NULL)
WRAP(int, vasprintf, (char **text_r, const char *format, va_list args),
     (text_r, format, args), -1)
