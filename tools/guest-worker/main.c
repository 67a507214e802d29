/*
 * What guest-worker is started as: by proc/worker_life.c, with a socket as
 * descriptor 3; it is of no use by hand.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/guest-worker/worker.h"

enum { EXIT_USAGE = 2 };

static int
print_usage(int argc, char *const argv[])
{
    bool is_asked = argc > 1 && !strcmp(argv[1], "--help");

    if (argc > 1 && !strcmp(argv[1], "--version")) {
        printf("guest-worker %s\n", LIBSPAWN_VERSION);
        return EXIT_SUCCESS;
    }
    fputs("usage: guest-worker CLASS [TEXT]\n"
          "Started by libspawn, with a socket as descriptor 3, to do what "
          "could hang its\ncaller; CLASS is io or probe; see "
          "guest-worker(8).\n",
          is_asked ? stdout : stderr);
    return is_asked ? EXIT_SUCCESS : EXIT_USAGE;
}

static bool
was_started_by_libspawn(void)
{
    struct stat st;

    return !fstat(LIBSPAWN__WORKER_FD, &st) && S_ISSOCK(st.st_mode);
}

int
main(int argc, char *argv[])
{
    static const struct job_type *const tables[] = {
        worker_io_types, worker_probe_types, worker_script_types, NULL
    };

    if (argc < 2 || *argv[1] == '-' || !was_started_by_libspawn()) {
        return print_usage(argc, argv);
    }
    return worker_serve(LIBSPAWN__WORKER_FD, argv[1], tables) ? EXIT_FAILURE
                                                              : EXIT_SUCCESS;
}
