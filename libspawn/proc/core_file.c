#include "proc/core_file.h"

#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/fd.h"
#include "base/str.h"

enum {
    RULE_MAX_SIZE = 4096,
    COMM_LEN = 15 /* what the kernel keeps of a program's name */
};

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* False for what nobody can know afterwards, such as the time. */
static bool
expand(struct libspawn__buf *name, char letter,
       const struct libspawn__core_owner *owner)
{
    switch (letter) {
    case '%':
        libspawn__buf_append(name, "%", 1);
        return true;
    case 'p':
    case 'P':
        libspawn__buf_printf(name, "%d", (int)owner->pid);
        return true;
    case 's':
        libspawn__buf_printf(name, "%d", owner->signal);
        return true;
    case 'e':
        libspawn__buf_printf(name, "%.*s", COMM_LEN,
                             base_name(owner->program));
        return true;
    case 'f':
        libspawn__buf_printf(name, "%s", base_name(owner->program));
        return true;
    default:
        return false;
    }
}

char *
libspawn__core_file_name(const char *pattern, bool uses_pid,
                         const struct libspawn__core_owner *owner)
{
    AUTO_BUF struct libspawn__buf name = { .data = NULL };
    bool has_pid = strstr(pattern, "%p");
    const char *at;

    if (*pattern == '|' || !*pattern) {
        return NULL;
    }
    if (*pattern != '/') {
        libspawn__buf_printf(&name, "%s/", owner->directory);
    }
    for (at = pattern; *at; at++) {
        if (*at != '%') {
            libspawn__buf_append(&name, at, 1);
        } else if (!*++at || !expand(&name, *at, owner)) {
            return NULL;
        }
    }
    if (uses_pid && !has_pid) {
        libspawn__buf_printf(&name, ".%d", (int)owner->pid);
    }
    return name.failed ? NULL : TAKE_PTR(name.data);
}

/* Its one line, without the newline; NULL: there is none. */
static char *
read_rule(const char *path)
{
    char *text = NULL;

    if (libspawn__file_read(path, RULE_MAX_SIZE, &text, NULL, NULL)) {
        return NULL;
    }
    text[strcspn(text, "\n")] = '\0';
    return text;
}

char *
libspawn__core_file_find(const struct libspawn__core_owner *owner)
{
    AUTO_FREE char *pattern = read_rule("/proc/sys/kernel/core_pattern");
    AUTO_FREE char *uses_pid = read_rule("/proc/sys/kernel/core_uses_pid");
    AUTO_FREE char *path =
        pattern ? libspawn__core_file_name(
                      pattern, uses_pid && strcmp(uses_pid, "0") != 0, owner)
                : NULL;

    return path && !access(path, R_OK) ? TAKE_PTR(path) : NULL;
}
