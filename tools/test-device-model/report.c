#include "tools/test-device-model/report.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"

/* A line "WORD VALUE". */
static void
put_line(struct libspawn__buf *report, const char *word, const char *value)
{
    libspawn__buf_printf(report, "%s ", word);
    for (; *value; value++) {
        if (*value == '\n' || *value == '\\') {
            libspawn__buf_puts(report, *value == '\n' ? "\\n" : "\\\\");
        } else {
            libspawn__buf_append(report, value, 1);
        }
    }
    libspawn__buf_puts(report, "\n");
}

static void
put_words(struct libspawn__buf *report, const char *word, char **values)
{
    for (; *values; values++) {
        put_line(report, word, *values);
    }
}

/* What the link at 'path' leads to; "?" when that cannot be known. */
static void
put_link(struct libspawn__buf *report, const char *word, int dir_fd,
         const char *path)
{
    char target[PATH_MAX + 1];
    ssize_t len = readlinkat(dir_fd, path, target, sizeof target - 1);

    target[MAX(len, 0)] = '\0';
    put_line(report, word, len < 0 ? "?" : target);
}

/* The lines of a file, each behind 'word'. */
static void
put_file(struct libspawn__buf *report, const char *word, const char *path)
{
    enum { FILE_MAX = 65536 };

    AUTO_FREE char *text = NULL;
    char *rest = NULL;
    char *line;

    if (libspawn__file_read(path, FILE_MAX, &text, NULL, NULL)) {
        put_line(report, word, "?");
        return;
    }
    for (line = strtok_r(text, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        put_line(report, word, line);
    }
}

static int
put_fds(struct libspawn__buf *report, struct libspawn_err *err)
{
    AUTO_DIR DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    if (!dir) {
        return libspawn__fail_errno(err, errno, "opening '/proc/self/fd'");
    }
    while ((entry = readdir(dir))) {
        AUTO_FREE char *word = libspawn__str_format("fd %s", entry->d_name);

        if (!word) {
            return libspawn__fail_nomem(err);
        }
        if (isdigit((unsigned char)entry->d_name[0]) &&
            strtol(entry->d_name, NULL, 10) != dirfd(dir)) {
            put_link(report, word, dirfd(dir), entry->d_name);
        }
    }
    return 0;
}

int
report_write(const char *path, char **argv, struct libspawn_err *err)
{
    AUTO_BUF struct libspawn__buf report = { 0 };
    int rc = put_fds(&report, err);

    if (rc) {
        return rc;
    }
    put_words(&report, "arg", argv);
    put_words(&report, "env", environ);
    put_link(&report, "cwd", AT_FDCWD, "/proc/self/cwd");
    libspawn__buf_printf(&report, "session %d\ngroup %d\nparent %d\n",
                         (int)getsid(0), (int)getpgrp(), (int)getppid());
    put_file(&report, "status", "/proc/self/status");
    put_file(&report, "limit", "/proc/self/limits");
    put_file(&report, "oom_score_adj", "/proc/self/oom_score_adj");
    put_file(&report, "cgroup", "/proc/self/cgroup");
    if (report.failed) {
        return libspawn__fail_nomem(err);
    }
    return libspawn__file_replace(path, report.data, report.size, 0600, err);
}
