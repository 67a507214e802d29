/*
 * xl config-update: another configuration for the next start of a guest; and
 * xl config-version, which tells what such a change was based on.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/str.h"
#include "xl/cfg.h"
#include "xl/command.h"
#include "xl/paths.h"

struct request {
    const char *guest;
    const char *config_path;
    const char *base; /* NULL: whatever it is now */
};

enum { OPTION_BASE = 256 };

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "defconfig", required_argument, NULL, 'f' },
    { "quiet", no_argument, NULL, 'q' },
    { "debug", no_argument, NULL, 'd' }, /* of the stock xl; no effect */
    { "base", required_argument, NULL, OPTION_BASE },
    { NULL, 0, NULL, 0 },
};

/* -1, or what to exit with.  Guest and file may stand between the options;
 * what has a '=' is an override, and all that comes behind it too. */
static int
parse(struct xl *xl, int argc, char *argv[], struct request *request)
{
    int option;

    while ((option = xl__next_option(xl, argc, argv, ":hf:qd",
                                     long_options)) != -1) {
        if (option == 'f') {
            request->config_path = optarg;
        } else if (option == 'q') {
            xl->is_quiet = true;
        } else if (option == OPTION_BASE) {
            request->base = optarg;
        } else if (option != 'd') {
            return option == 'h' ? XL__EXIT_OK : XL__EXIT_USAGE;
        }
    }
    if (optind == argc) {
        return xl__usage_error(xl, "which guest?");
    }
    request->guest = argv[optind++];
    if (!request->config_path && optind < argc && !strchr(argv[optind], '=')) {
        request->config_path = argv[optind++];
    }
    if (!request->config_path) {
        return xl__usage_error(xl, "which configuration file?");
    }
    return -1;
}

static int
load(struct xl *xl, const struct request *request, char *overrides[],
     size_t n_overrides, struct libspawn_guest_config *config,
     struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv warnings = { 0 };
    int rc = xl__config_load(request->config_path, overrides, n_overrides,
                             config, &warnings, err);
    size_t i;

    for (i = 0; !xl->is_quiet && i < warnings.n_items; i++) {
        xl__warn("%s", warnings.items[i]);
    }
    return rc ? rc : xl__paths_make_absolute(config, err);
}

static int
update(struct xl *xl, const struct request *request,
       const struct libspawn_guest_config *config, struct libspawn_err *err)
{
    uint32_t domid;
    int rc = xl__try_open_host(xl, err);

    if (!rc) {
        rc = libspawn_guest_find(xl->host, request->guest, &domid, err);
    }
    return rc ? rc
              : libspawn_guest_update_config(xl->host, domid, config,
                                             request->base, err);
}

int
xl__config_update_run(struct xl *xl, int argc, char *argv[])
{
    struct request request = { .guest = NULL };
    struct libspawn_guest_config config;
    struct libspawn_err err;
    int status = parse(xl, argc, argv, &request);
    int rc;

    if (status >= 0) {
        return status;
    }
    libspawn_guest_config_init(&config);
    rc = load(xl, &request, argv + optind, (size_t)(argc - optind), &config,
              &err);
    if (!rc) {
        rc = update(xl, &request, &config, &err);
    }
    libspawn_guest_config_dispose(&config);
    return rc ? xl__fail(xl, &err) : XL__EXIT_OK;
}

int
xl__config_version_run(struct xl *xl, int argc, char *argv[])
{
    AUTO_FREE char *version = NULL;
    struct libspawn_err err;
    uint32_t domid;
    int status;

    if (!xl__one_guest(xl, argc, argv, &domid, &status)) {
        return status;
    }
    if (libspawn_guest_get_config_version(xl->host, domid, &version, &err)) {
        return xl__fail(xl, &err);
    }
    printf("%s\n", version);
    return XL__EXIT_OK;
}
