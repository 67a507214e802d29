/*
 * xl console: see xl/terminal.h.
 */
#include <getopt.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "xl/command.h"
#include "xl/terminal.h"

int
xl__console_run(struct xl *xl, int argc, char *argv[])
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "num", required_argument, NULL, 'n' },
        { "type", required_argument, NULL, 't' },
        { NULL, 0, NULL, 0 },
    };
    AUTO_FD int fd = -1;
    const char *type = NULL;
    struct libspawn_err err;
    uint64_t number = 0;
    uint32_t domid;
    int option;
    int status;

    while ((option = xl__next_option(xl, argc, argv, ":hn:t:", options)) !=
           -1) {
        if (option == 't') {
            type = optarg;
        } else if (option != 'n') {
            return option == 'h' ? XL__EXIT_OK : XL__EXIT_USAGE;
        } else if (libspawn__str_to_u64(optarg, 0, 255, &number, &err)) {
            return xl__usage_error(xl, "--num: %s", err.text);
        }
    }
    if (argc - optind != 1) {
        return xl__usage_error(xl, "which guest?");
    }
    status = xl__open_host(xl);
    if (status) {
        return status;
    }
    if (libspawn_guest_find(xl->host, argv[optind], &domid, &err) ||
        libspawn_guest_open_console(xl->host, domid, type,
                                    (unsigned int)number, &fd, &err) ||
        xl__terminal_attach(fd, &err)) {
        return xl__fail(xl, &err);
    }
    return XL__EXIT_OK;
}
