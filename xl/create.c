/*
 * xl create: from a configuration file to a running guest, or to one error
 * that names the cause.
 *
 *   parse options -> load the configuration -> create -> console or viewer
 */
#include <getopt.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/signals.h"
#include "base/util.h"
#include "guest/libxl_json.h"
#include "wire/stream.h"
#include "xl/cfg.h"
#include "xl/create.h"
#include "xl/paths.h"
#include "xl/terminal.h"

enum {
    PROGRESS_INTERVAL_MS = 1000
};

/* ---- Waiting ----------------------------------------------------------- */

/* Only for people who wait longer than a second. */
static void
show_progress(struct xl__creation *creation)
{
    int64_t ms = libspawn__clock_now_ms() - creation->step_since_ms;

    if (ms >= PROGRESS_INTERVAL_MS && creation->step) {
        fprintf(stderr, "\r\033[Kguest '%s': %s (%lld s)",
                creation->config.name, creation->step, (long long)ms / 1000);
        creation->has_progress_line = true;
    }
}

bool
xl__creation_take_signal(struct xl__creation *creation)
{
    int number = libspawn__signals_read(creation->signal_fd);

    if (number) {
        creation->signal = number;
    }
    return creation->signal != 0;
}

int
xl__creation_wait(struct xl__creation *creation, void (*interrupt)(void *user),
                  void *user)
{
    struct xl *xl = creation->xl;
    bool has_progress = !xl->is_quiet && isatty(STDERR_FILENO);
    struct libspawn_err err;

    while (!creation->is_done) {
        struct pollfd fds[] = {
            { .fd = libspawn_ctx_fd(xl->ctx), .events = POLLIN },
            { .fd = creation->signal_fd, .events = POLLIN },
        };

        if (poll(fds, ARRAY_SIZE(fds),
                 has_progress ? PROGRESS_INTERVAL_MS : -1) == 0) {
            show_progress(creation);
        }
        if (fds[1].revents && xl__creation_take_signal(creation)) {
            interrupt(user);
        }
        if (libspawn_ctx_dispatch(xl->ctx, &err)) {
            return xl__creation_fail_with(creation, &err);
        }
    }
    return creation->status;
}

static int
create_guest(struct xl__creation *creation)
{
    creation->signal_fd = libspawn__signals_open();
    return creation->is_unsupervised ? xl__create_here(creation)
                                     : xl__create_supervised(creation);
}

/* ---- Afterwards -------------------------------------------------------- */

/* A process of its own, so that a console can be attached at the same time;
 * it says by itself when there is no viewer. */
static void
start_viewer(const struct xl__creation *creation)
{
    char domid[16];
    char xl[] = "xl";
    char state_dir[] = "--state-dir";
    char vncviewer[] = "vncviewer";
    char *given = creation->xl->state_dir ? strdup(creation->xl->state_dir)
                                          : NULL;
    char *with_dir[] = { xl, state_dir, given, vncviewer, domid, NULL };
    char *without[] = { xl, vncviewer, domid, NULL };
    pid_t pid;

    snprintf(domid, sizeof domid, "%u", (unsigned int)creation->domid);
    if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL,
                    given ? with_dir : without, environ)) {
        xl__warn("the VNC viewer could not be started");
    }
    free(given);
}

static int
follow(struct xl__creation *creation)
{
    struct libspawn_err err;

    if (creation->has_viewer) {
        start_viewer(creation);
    }
    if (creation->console_fd >= 0 &&
        xl__terminal_attach(creation->console_fd, &err)) {
        return xl__fail(creation->xl, &err);
    }
    return creation->is_foreground && creation->supervisor_pid
               ? xl__create_stay(creation)
               : XL__EXIT_OK;
}

/* ---- Configuration ----------------------------------------------------- */

static int
print_config(struct xl__creation *creation)
{
    FILE *out = creation->is_dry ? stdout : stderr;
    AUTO_FREE char *json = NULL;
    struct libspawn_err err;

    if (libspawn__guest_config_to_libxl_json(&creation->config, &json, &err)) {
        return xl__creation_fail_with(creation, &err);
    }
    fprintf(out, "%s\n", json);
    return XL__EXIT_OK;
}

static int
load_config(struct xl__creation *creation, char *overrides[],
            size_t n_overrides)
{
    AUTO_STRV struct libspawn__strv warnings = { 0 };
    struct libspawn_err err = { 0 };
    int rc = xl__config_load(creation->config_path, overrides, n_overrides,
                             &creation->config, &warnings, &err);
    size_t i;

    for (i = 0; !creation->xl->is_quiet && i < warnings.n_items; i++) {
        xl__warn("%s", warnings.items[i]);
    }
    if (!rc) {
        rc = xl__paths_make_absolute(&creation->config, &err);
    }
    if (rc) {
        return xl__creation_fail_with(creation, &err);
    }
    if (creation->timeout_s) {
        creation->config.start_timeout_ms =
            (uint32_t)(creation->timeout_s * 1000);
    }
    return XL__EXIT_OK;
}

/* ---- Options ----------------------------------------------------------- */

enum {
    OPTION_JSON = 256,
    OPTION_TIMEOUT,
    OPTION_STARTUP_TIMEOUT,
    OPTION_MONITOR,
    OPTION_CONTROL,
    OPTION_IGNORED
};

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { "paused", no_argument, NULL, 'p' },
    { "console", no_argument, NULL, 'c' },
    { "vncviewer", no_argument, NULL, 'V' },
    { "vncviewer-autopass", no_argument, NULL, 'A' },
    { "dryrun", no_argument, NULL, 'n' },
    { "debug", no_argument, NULL, 'd' },
    { "defconfig", required_argument, NULL, 'f' },
    { "quiet", no_argument, NULL, 'q' },
    { "json", no_argument, NULL, OPTION_JSON },
    { "timeout", required_argument, NULL, OPTION_TIMEOUT },
    { "startup-timeout", required_argument, NULL, OPTION_STARTUP_TIMEOUT },
    { "foreground", no_argument, NULL, 'F' },
    { "no-supervisor", no_argument, NULL, 'e' },
    { "monitor", no_argument, NULL, OPTION_MONITOR },
    { "control", required_argument, NULL, OPTION_CONTROL },
    { "ignore-global-affinity-masks", no_argument, NULL, OPTION_IGNORED },
    { NULL, 0, NULL, 0 },
};

static int
take_seconds(struct xl__creation *creation, const char *name, uint64_t *slot)
{
    struct libspawn_err err;

    return libspawn__str_to_u64(optarg, 1, 86400, slot, &err)
               ? xl__usage_error(creation->xl, "--%s: %s", name, err.text)
               : -1;
}

static int
take_control(struct xl__creation *creation)
{
    struct libspawn_err err;

    if (libspawn__stream_check_foreign(optarg, &err)) {
        return xl__usage_error(creation->xl, "--control: %s", err.text);
    }
    if (!libspawn__str_has_prefix(optarg, "ptcp:")) {
        return xl__usage_error(creation->xl,
                               "--control: '%s' is not ptcp:PORT[:ADDRESS]",
                               optarg);
    }
    creation->control = optarg;
    return -1;
}

/* -1, or what to exit with. */
static int
take_option(struct xl__creation *creation, int option)
{
    bool *const flags[] = {
        ['p'] = &creation->is_paused,
        ['c'] = &creation->has_console,
        ['V'] = &creation->has_viewer,
        ['A'] = &creation->has_viewer,
        ['n'] = &creation->is_dry,
        ['d'] = &creation->is_debug,
        ['e'] = &creation->is_unsupervised,
        ['F'] = &creation->is_foreground,
        ['q'] = &creation->xl->is_quiet,
        [OPTION_JSON] = &creation->xl->as_json,
        [OPTION_MONITOR] = &creation->has_monitor,
    };

    if (option < (int)ARRAY_SIZE(flags) && flags[option]) {
        *flags[option] = true;
    }
    switch (option) {
    case 'f':
        creation->config_path = optarg;
        return -1;
    case OPTION_CONTROL:
        return take_control(creation);
    case OPTION_TIMEOUT:
        return take_seconds(creation, "timeout", &creation->timeout_s);
    case OPTION_STARTUP_TIMEOUT:
        return take_seconds(creation, "startup-timeout",
                            &creation->startup_timeout_s);
    case 'h':
        return XL__EXIT_OK;
    case '?':
    case ':':
        return XL__EXIT_USAGE;
    default:
        return -1;
    }
}

/* The configuration file may stand before, behind or between the options;
 * what has a '=' is an override. */
static int
parse(struct xl__creation *creation, int argc, char *argv[])
{
    int option;
    int status;

    if (argc > 1 && argv[1][0] != '-' && !strchr(argv[1], '=')) {
        creation->config_path = argv[1];
        argv++;
        argc--;
    }
    while ((option = xl__next_option(creation->xl, argc, argv, ":hpcVAndf:qeF",
                                     long_options)) != -1) {
        status = take_option(creation, option);
        if (status >= 0) {
            return status;
        }
    }
    if (!creation->config_path && optind < argc &&
        !strchr(argv[optind], '=')) {
        creation->config_path = argv[optind++];
    }
    if (!creation->config_path) {
        return xl__usage_error(creation->xl, "which configuration file?");
    }
    if (creation->control && creation->is_unsupervised) {
        return xl__usage_error(creation->xl,
                               "--control is for a guest with a supervisor");
    }
    return load_config(creation, argv + optind, (size_t)(argc - optind));
}

int
xl__create_run(struct xl *xl, int argc, char *argv[])
{
    struct xl__creation creation = { .xl = xl,
                                     .signal_fd = -1,
                                     .console_fd = -1 };
    int status;

    libspawn_guest_config_init(&creation.config);
    status = parse(&creation, argc, argv);
    if (!status && creation.config.name &&
        (creation.is_dry || creation.is_debug)) {
        status = print_config(&creation);
    }
    if (!status && creation.config.name && !creation.is_dry) {
        status = create_guest(&creation);
        if (!status) {
            status = follow(&creation);
        }
    }
    libspawn_guest_config_dispose(&creation.config);
    free(creation.step);
    libspawn__auto_close(&creation.signal_fd);
    libspawn__auto_close(&creation.console_fd);
    return status;
}
