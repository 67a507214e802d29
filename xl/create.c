/*
 * xl create: from a configuration file to a running guest, or to one error
 * that names the cause.
 *
 *   parse options -> load the configuration -> create (an operation on the
 *   context, which an interrupt aborts) -> console or viewer
 */
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/util.h"
#include "guest/libxl_json.h"
#include "wire/json.h"
#include "xl/cfg.h"
#include "xl/command.h"
#include "xl/paths.h"
#include "xl/terminal.h"

enum {
    PROGRESS_INTERVAL_MS = 1000
};

/* What the command line asks for, and how far it is. */
struct run {
    struct xl *xl;
    const char *config_path;
    bool is_paused;
    bool has_console;
    bool has_viewer;
    bool is_dry;
    bool is_debug;
    uint64_t timeout_s; /* 0: as configured */

    struct libspawn_guest_config config;
    struct libspawn_create *create; /* NULL: not yet, or done */
    int signal_fd;
    int signal; /* that asked for the end; 0: none */

    const char *step; /* now running; for the progress line */
    int64_t step_since_ms;
    bool has_progress_line;

    int console_fd;
    bool is_done;
    uint32_t domid;
    int status; /* what to exit with */
};

/* ---- Result ------------------------------------------------------------ */

/* Once: what comes behind it, such as a console that fails, is text only. */
static void
print_json_result(struct run *run, const struct libspawn_report *report,
                  const struct libspawn_err *err)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);
    AUTO_FREE char *report_json = report ? libspawn_report_json(report) : NULL;
    struct libspawn__json *tree = NULL;
    AUTO_FREE char *text = NULL;

    libspawn__json_begin_object(w, NULL);
    libspawn__json_put_string(w, "name", run->config.name);
    if (err) {
        xl__put_error(w, err);
    } else {
        libspawn__json_put_integer(w, "domid", run->domid);
    }
    if (report_json &&
        !libspawn__json_parse(report_json, strlen(report_json),
                              strlen(report_json), &tree, NULL)) {
        libspawn__json_put(w, "report", tree);
        libspawn__json_free(tree);
    }
    libspawn__json_end_object(w);
    text = libspawn__json_writer_take(w);
    puts(text ? text : "{}");
    run->xl->as_json = false;
}

/* The cause first, then what the device model said, then where the rest is;
 * nothing that is only a consequence. */
static int
print_failure(struct run *run, const struct libspawn_report *report,
              const struct libspawn_err *err)
{
    AUTO_FREE char *text = report ? libspawn_report_text(report) : NULL;

    if (run->xl->as_json) {
        print_json_result(run, report, err);
    }
    if (!text) {
        return xl__fail(run->xl, err);
    }
    fprintf(stderr, "xl: %s", text);
    return libspawn_report_exit_status(report);
}

static void
clear_progress(struct run *run)
{
    if (run->has_progress_line) {
        fputs("\r\033[K", stderr);
        run->has_progress_line = false;
    }
}

static void
on_done(void *user, uint32_t domid, const struct libspawn_report *report,
        const struct libspawn_err *err)
{
    struct run *run = user;

    run->is_done = true;
    run->domid = domid;
    clear_progress(run);
    if (!err) {
        if (run->xl->as_json) {
            print_json_result(run, NULL, NULL);
        }
        run->status = XL__EXIT_OK;
    } else {
        run->status = print_failure(run, report, err);
    }
    if (err && run->signal) {
        run->status = XL__EXIT_SIGNAL_BASE + run->signal;
    }
}

/* ---- Progress ---------------------------------------------------------- */

static void
on_step(void *user, const char *step)
{
    struct run *run = user;

    run->step = step;
    run->step_since_ms = libspawn__clock_now_ms();
    if (run->xl->verbose) {
        fprintf(stderr, "xl: %s\n", step);
    }
}

static void
on_warning(void *user, const char *sentence)
{
    struct run *run = user;

    if (!run->xl->is_quiet) {
        clear_progress(run);
        xl__warn("%s", sentence);
    }
}

/* Only for people who wait longer than a second. */
static void
show_progress(struct run *run)
{
    int64_t ms = libspawn__clock_now_ms() - run->step_since_ms;

    if (ms >= PROGRESS_INTERVAL_MS && run->step) {
        fprintf(stderr, "\r\033[Kguest '%s': %s (%lld s)", run->config.name,
                run->step, (long long)ms / 1000);
        run->has_progress_line = true;
    }
}

/* ---- Creating ---------------------------------------------------------- */

/* Before the guest runs, so that not a byte of its greeting is missed. */
static int
attach(void *user, uint32_t domid, struct libspawn_err *err)
{
    struct run *run = user;

    return run->has_console
               ? libspawn_guest_open_console(run->xl->host, domid, NULL, 0,
                                             &run->console_fd, err)
               : 0;
}

/* Also while another xl is waited for, which is before there is a creation or
 * in one of its steps. */
static bool
is_interrupted(void *user)
{
    struct run *run = user;
    struct signalfd_siginfo info;

    if (read(run->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        run->signal = (int)info.ssi_signo;
        if (run->create) {
            libspawn_create_abort(run->create);
        }
    }
    return run->signal != 0;
}

static int
wait_until_done(struct run *run)
{
    bool has_progress = !run->xl->is_quiet && isatty(STDERR_FILENO);
    struct libspawn_err err;

    while (!run->is_done) {
        struct pollfd fds[] = {
            { .fd = libspawn_ctx_fd(run->xl->ctx), .events = POLLIN },
            { .fd = run->signal_fd, .events = POLLIN },
        };

        if (poll(fds, ARRAY_SIZE(fds),
                 has_progress ? PROGRESS_INTERVAL_MS : -1) == 0) {
            show_progress(run);
        }
        if (fds[1].revents) {
            is_interrupted(run);
        }
        if (libspawn_ctx_dispatch(run->xl->ctx, &err)) {
            return print_failure(run, NULL, &err);
        }
    }
    return run->status;
}

/* From here on an interrupt undoes what was done instead of ending us. */
static void
catch_signals(struct run *run)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    run->xl->is_interrupted = is_interrupted;
    run->xl->user = run;
}

static int
create_guest(struct run *run)
{
    const struct libspawn_create_options options = {
        .paused = run->is_paused,
        .before_unpause = attach,
        .progress = on_step,
        .user = run,
        .warning = on_warning,
    };
    struct libspawn_err err;
    int status;

    catch_signals(run);
    run->xl->next_guest = run->config.name;
    if (xl__try_open_host(run->xl, &err) ||
        libspawn_guest_create(run->xl->host, &run->config, &options, on_done,
                              run, &run->create, &err)) {
        status = print_failure(run, NULL, &err);
        return run->signal ? XL__EXIT_SIGNAL_BASE + run->signal : status;
    }
    status = wait_until_done(run);
    libspawn_create_free(run->create);
    run->create = NULL;
    return status;
}

/* A process of its own, so that a console can be attached at the same time;
 * it says by itself when there is no viewer. */
static void
start_viewer(const struct run *run)
{
    char domid[16];
    char xl[] = "xl";
    char state_dir[] = "--state-dir";
    char vncviewer[] = "vncviewer";
    char *given = run->xl->state_dir ? strdup(run->xl->state_dir) : NULL;
    char *with_dir[] = { xl, state_dir, given, vncviewer, domid, NULL };
    char *without[] = { xl, vncviewer, domid, NULL };
    pid_t pid;

    snprintf(domid, sizeof domid, "%u", (unsigned int)run->domid);
    if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL,
                    given ? with_dir : without, environ)) {
        xl__warn("the VNC viewer could not be started");
    }
    free(given);
}

static int
follow(struct run *run)
{
    struct libspawn_err err;

    if (run->has_viewer) {
        start_viewer(run);
    }
    if (run->console_fd >= 0 && xl__terminal_attach(run->console_fd, &err)) {
        return xl__fail(run->xl, &err);
    }
    return XL__EXIT_OK;
}

/* ---- Configuration ----------------------------------------------------- */

static int
print_config(struct run *run)
{
    FILE *out = run->is_dry ? stdout : stderr;
    AUTO_FREE char *json = NULL;
    struct libspawn_err err;

    if (libspawn__guest_config_to_libxl_json(&run->config, &json, &err)) {
        return print_failure(run, NULL, &err);
    }
    fprintf(out, "%s\n", json);
    return XL__EXIT_OK;
}

static int
load_config(struct run *run, char *overrides[], size_t n_overrides)
{
    AUTO_STRV struct libspawn__strv warnings = { 0 };
    struct libspawn_err err = { 0 };
    int rc = xl__config_load(run->config_path, overrides, n_overrides,
                             &run->config, &warnings, &err);
    size_t i;

    for (i = 0; !run->xl->is_quiet && i < warnings.n_items; i++) {
        xl__warn("%s", warnings.items[i]);
    }
    if (!rc) {
        rc = xl__paths_make_absolute(&run->config, &err);
    }
    if (rc) {
        return print_failure(run, NULL, &err);
    }
    if (run->timeout_s) {
        run->config.start_timeout_ms = (uint32_t)(run->timeout_s * 1000);
    }
    return XL__EXIT_OK;
}

/* ---- Options ----------------------------------------------------------- */

enum {
    OPTION_JSON = 256,
    OPTION_TIMEOUT,
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
    { "ignore-global-affinity-masks", no_argument, NULL, OPTION_IGNORED },
    { NULL, 0, NULL, 0 },
};

/* -1, or what to exit with. */
static int
take_option(struct run *run, int option)
{
    struct libspawn_err err;
    bool *const flags[] = {
        ['p'] = &run->is_paused,  ['c'] = &run->has_console,
        ['V'] = &run->has_viewer, ['A'] = &run->has_viewer,
        ['n'] = &run->is_dry,     ['d'] = &run->is_debug,
        ['q'] = &run->xl->is_quiet,   [OPTION_JSON] = &run->xl->as_json,
    };

    if (option < (int)ARRAY_SIZE(flags) && flags[option]) {
        *flags[option] = true;
    } else if (option == 'f') {
        run->config_path = optarg;
    } else if (option == OPTION_TIMEOUT) {
        if (libspawn__str_to_u64(optarg, 1, 86400, &run->timeout_s, &err)) {
            return xl__usage_error(run->xl, "--timeout: %s", err.text);
        }
    } else if (option == 'h') {
        return XL__EXIT_OK;
    } else if (option == '?' || option == ':') {
        return XL__EXIT_USAGE;
    }
    return -1; /* -e and -F of the stock xl: there is no monitor to choose */
}

/* The configuration file may stand before, behind or between the options;
 * what has a '=' is an override. */
static int
parse(struct run *run, int argc, char *argv[])
{
    int option;
    int status;

    if (argc > 1 && argv[1][0] != '-' && !strchr(argv[1], '=')) {
        run->config_path = argv[1];
        argv++;
        argc--;
    }
    while ((option = xl__next_option(run->xl, argc, argv, ":hpcVAndf:qeF",
                                     long_options)) != -1) {
        status = take_option(run, option);
        if (status >= 0) {
            return status;
        }
    }
    if (!run->config_path && optind < argc && !strchr(argv[optind], '=')) {
        run->config_path = argv[optind++];
    }
    if (!run->config_path) {
        return xl__usage_error(run->xl, "which configuration file?");
    }
    return load_config(run, argv + optind, (size_t)(argc - optind));
}

int
xl__create_run(struct xl *xl, int argc, char *argv[])
{
    struct run run = { .xl = xl, .signal_fd = -1, .console_fd = -1 };
    int status;

    libspawn_guest_config_init(&run.config);
    status = parse(&run, argc, argv);
    if (!status && run.config.name && (run.is_dry || run.is_debug)) {
        status = print_config(&run);
    }
    if (!status && run.config.name && !run.is_dry) {
        status = create_guest(&run);
        if (!status) {
            status = follow(&run);
        }
    }
    libspawn_guest_config_dispose(&run.config);
    libspawn__auto_close(&run.signal_fd);
    libspawn__auto_close(&run.console_fd);
    return status;
}
