/*
 * What the subcommands share: messages, options, the host.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"
#include "guest/supervised.h"
#include "wire/json.h"
#include "xl/command.h"

void
xl__put_error(struct libspawn__json_writer *w, const struct libspawn_err *err)
{
    libspawn__json_put_string(w, "error", libspawn_code_name(err->code));
    libspawn__json_put_string(w, "message", err->text);
}

static void
print_error_object(const struct libspawn_err *err)
{
    struct libspawn__json_writer *w = libspawn__json_writer_new(false);
    AUTO_FREE char *text = NULL;

    libspawn__json_begin_object(w, NULL);
    xl__put_error(w, err);
    libspawn__json_end_object(w);
    text = libspawn__json_writer_take(w);
    puts(text ? text : "{}");
}

int
xl__fail(struct xl *xl, const struct libspawn_err *err)
{
    fprintf(stderr, "xl: %s\n", err->text);
    if (xl->as_json) {
        print_error_object(err);
        xl->as_json = false;
    }
    return libspawn__code_exit_status(err->code);
}

void
xl__format_time(int64_t time_ms, char text[XL__TIME_SIZE])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm tm;

    text[0] = '\0';
    if (localtime_r(&seconds, &tm)) {
        strftime(text, XL__TIME_SIZE, "%Y-%m-%d %H:%M:%S", &tm);
    }
}

void
xl__warn(const char *format, ...)
{
    va_list args;

    fputs("xl: warning: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void
xl__print_usage(const struct xl__command *command, bool to_stderr)
{
    FILE *out = to_stderr ? stderr : stdout;

    fprintf(out, "usage: xl %s%s%s\n", command->name,
            command->arguments[0] ? " " : "", command->arguments);
    if (!to_stderr) {
        fprintf(out, "%s\n%s", command->summary,
                command->details ? command->details : "");
    }
}

int
xl__usage_error(struct xl *xl, const char *format, ...)
{
    struct libspawn_err err = { .code = LIBSPAWN_ERR_INVALID };
    va_list args;

    va_start(args, format);
    vsnprintf(err.text, sizeof err.text, format, args);
    va_end(args);
    xl__fail(xl, &err);
    xl__print_usage(xl->command, true);
    return XL__EXIT_USAGE;
}

int
xl__next_option(struct xl *xl, int argc, char *argv[],
                const char *short_options, const struct option *long_options)
{
    int option;

    opterr = 0; /* messages are ours */
    option = getopt_long(argc, argv, short_options, long_options, NULL);
    if (option == 'h') {
        xl__print_usage(xl->command, false);
    } else if (option == ':') {
        xl__usage_error(xl, "option '%s' needs a value", argv[optind - 1]);
        return '?';
    } else if (option == '?') {
        xl__usage_error(xl, "unknown option '%s'", argv[optind - 1]);
    }
    return option;
}

void
xl__say_progress(const struct xl *xl, const char *what)
{
    if (!xl->is_quiet && (xl->verbose || isatty(STDERR_FILENO))) {
        fprintf(stderr, "xl: %s\n", what);
    }
}

/* After a second; once, however many waits there are. */
static int
on_waiting(void *user, int64_t waited_ms, const char *sentence)
{
    struct xl *xl = user;

    (void)waited_ms;
    if (sentence && !xl->has_said_waiting && !xl->is_quiet) {
        fprintf(stderr, "xl: %s\n", sentence);
        xl->has_said_waiting = true;
    }
    return xl->is_interrupted && xl->is_interrupted(xl->user);
}

static void
on_warning(void *user, const char *sentence)
{
    const struct xl *xl = user;

    if (!xl->is_quiet) {
        xl__warn("%s", sentence);
    }
}

/* A guest whose supervisor died gets another one by the next command.  That is
 * xl's business: who uses the library does not expect it to start daemons. */
int
xl__try_open_host(struct xl *xl, struct libspawn_err *err)
{
    const struct libspawn_host_options options = {
        .state_dir = xl->state_dir,
        .next_guest = xl->next_guest,
        .waiting = on_waiting,
        .waiting_user = xl,
        .warning = on_warning,
        .warning_user = xl,
    };
    int rc = 0;

    if (!xl->ctx) {
        rc = libspawn_ctx_new(NULL, &xl->ctx, err);
    }
    if (!rc && !xl->host) {
        rc = libspawn_host_open(xl->ctx, &options, &xl->host, err);
        if (!rc && !xl->is_ending) {
            libspawn__supervised_restore(xl->host);
        }
    }
    return rc;
}

int
xl__open_host(struct xl *xl)
{
    struct libspawn_err err;

    return xl__try_open_host(xl, &err) ? xl__fail(xl, &err) : XL__EXIT_OK;
}

bool
xl__one_guest(struct xl *xl, int argc, char *argv[], uint32_t *domid_r,
              int *status_r)
{
    static const struct option long_options[] = {
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct libspawn_err err;
    int option = xl__next_option(xl, argc, argv, ":h", long_options);

    if (option != -1) {
        *status_r = option == 'h' ? XL__EXIT_OK : XL__EXIT_USAGE;
        return false;
    }
    if (argc - optind != 1) {
        *status_r = xl__usage_error(xl, argc == optind ? "which guest?"
                                                       : "too many arguments");
        return false;
    }
    *status_r = xl__open_host(xl);
    if (*status_r) {
        return false;
    }
    if (libspawn_guest_find(xl->host, argv[optind], domid_r, &err)) {
        *status_r = xl__fail(xl, &err);
        return false;
    }
    return true;
}
