#include "tests/bench/bench_xl.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/bench/bench.h"

enum { LINE_WAIT_MS = 20000 };

static const char *programs;
static char dir[32];

int
bench_xl_begin(const char *bin)
{
    static const char text[] = "name = \"" BENCH_XL_GUEST "\"\n"
                               "type = \"hvm\"\nmemory = 32\n"
                               "serial = \"pty\"\n";

    programs = bin;
    strncpy(dir, "/dev/shm/bench-XXXXXX", sizeof dir - 1); /* as /run is */
    if (!mkdtemp(dir) || chdir(dir) < 0 ||
        setenv("XL_STATE_DIR", "state", 1) < 0 ||
        libspawn__file_replace(BENCH_XL_CONFIG, text, sizeof text - 1, 0644,
                               NULL)) {
        perror("bench");
        return -1;
    }
    return 0;
}

void
bench_xl_end(void)
{
    libspawn__dir_remove_tree(dir, NULL);
}

char *
bench_xl_program(const char *name)
{
    return libspawn__str_format("%s/%s", programs, name);
}

int64_t
bench_xl_argv(int expected_exit, const char *const args[])
{
    AUTO_FREE char *xl = bench_xl_program("xl");
    const char *argv[12] = { xl };
    size_t i;

    for (i = 0; args[i] && i < ARRAY_SIZE(argv) - 2; i++) {
        argv[i + 1] = args[i];
    }
    return bench_time_program((char *const *)(uintptr_t)argv, expected_exit);
}

pid_t
bench_xl_model(unsigned int domid)
{
    AUTO_FREE char *path =
        libspawn__str_format("state/store/libxl/%u/libspawn/dm", domid);
    AUTO_FREE char *record = NULL;
    struct libspawn_err err = { .text = "it names no child" };
    const char *child = NULL;

    if (!libspawn__file_read(path, 4096, &record, NULL, &err)) {
        child = strstr(record, "\nchild=");
    }
    if (!child) {
        fprintf(stderr, "bench: record of guest %u: %s\n", domid, err.text);
        return -1;
    }
    return (pid_t)strtol(child + strlen("\nchild="), NULL, 10);
}

bool
bench_xl_await_line(int fd, const char *word)
{
    char text[8192];
    size_t size = 0;

    while (size < sizeof text - 1) {
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };
        ssize_t n;

        if (poll(&pollfd, 1, LINE_WAIT_MS) <= 0) {
            return false;
        }
        n = read(fd, text + size, sizeof text - 1 - size);
        if (n <= 0) {
            return false;
        }
        size += (size_t)n;
        text[size] = '\0';
        if (strstr(text, word) && text[size - 1] == '\n') {
            return true;
        }
    }
    return false;
}
