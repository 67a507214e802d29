/*
 * The subcommands of xl: one file each, one row each in the table of
 * xl/main.c.
 */
#ifndef XL_COMMAND_H
#define XL_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "include/libspawn-guest.h"
#include "xl/exit.h"

/* What every subcommand gets. */
struct xl {
    const struct xl__command *command;
    const char *state_dir;  /* --state-dir; NULL: default */
    const char *next_guest; /* that will be created; NULL: none */
    bool is_ending; /* a guest, which is not to get a lost supervisor back */
    unsigned int verbose;
    bool as_json; /* --json: what is the matter goes to stdout, as an object */
    bool is_quiet;            /* no progress, no warnings */
    struct libspawn_ctx *ctx; /* after xl__open_host */
    struct libspawn_host *host;

    /* Asked while another xl is waited for, where signals do not end this one
     * by themselves; NULL: they do. */
    bool (*is_interrupted)(void *user);
    void *user;
    bool has_said_waiting;
};

struct xl__command {
    const char *name;
    const char *arguments; /* for the usage line */
    const char *summary;   /* one line, for `xl help` */
    const char *details;   /* options, a line each; NULL: none */
    /* argv[0] is the subcommand; returns an enum xl__exit. */
    int (*run)(struct xl *xl, int argc, char *argv[]);
};

extern const struct xl__command xl__commands[]; /* ends with a NULL name */

int xl__create_run(struct xl *xl, int argc, char *argv[]);
int xl__destroy_run(struct xl *xl, int argc, char *argv[]);
int xl__dm_list_run(struct xl *xl, int argc, char *argv[]);
int xl__events_run(struct xl *xl, int argc, char *argv[]);
int xl__list_run(struct xl *xl, int argc, char *argv[]);
int xl__config_update_run(struct xl *xl, int argc, char *argv[]);
int xl__config_version_run(struct xl *xl, int argc, char *argv[]);
int xl__lock_run(struct xl *xl, int argc, char *argv[]);
int xl__console_run(struct xl *xl, int argc, char *argv[]);
int xl__pci_list_run(struct xl *xl, int argc, char *argv[]);
int xl__pci_release_run(struct xl *xl, int argc, char *argv[]);
int xl__pci_reserve_run(struct xl *xl, int argc, char *argv[]);
int xl__pause_run(struct xl *xl, int argc, char *argv[]);
int xl__unpause_run(struct xl *xl, int argc, char *argv[]);
int xl__shutdown_run(struct xl *xl, int argc, char *argv[]);
int xl__reboot_run(struct xl *xl, int argc, char *argv[]);
int xl__domid_run(struct xl *xl, int argc, char *argv[]);
int xl__domname_run(struct xl *xl, int argc, char *argv[]);
int xl__screenshot_run(struct xl *xl, int argc, char *argv[]);
int xl__supervise_run(struct xl *xl, int argc, char *argv[]);
int xl__vncviewer_run(struct xl *xl, int argc, char *argv[]);
int xl__version_run(struct xl *xl, int argc, char *argv[]);
int xl__help_run(struct xl *xl, int argc, char *argv[]);

/* ---- What they share (xl/common.c) ------------------------------------- */

/* Prints "xl: ..." to stderr and, with --json, an object to stdout, but never
 * a second one; returns what to exit with. */
int xl__fail(struct xl *xl, const struct libspawn_err *err);

/* The members of an error in an object that is printed instead. */
struct libspawn__json_writer;
void xl__put_error(struct libspawn__json_writer *w,
                   const struct libspawn_err *err);

/* Local time, "2026-11-21 12:00:00", of milliseconds UTC. */
enum {
    XL__TIME_SIZE = 32
};
void xl__format_time(int64_t time_ms, char text[XL__TIME_SIZE]);

void xl__warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, and how it is called, to stderr; XL__EXIT_USAGE. */
int xl__usage_error(struct xl *xl, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void xl__print_usage(const struct xl__command *command, bool to_stderr);

/* For a person who waits: a line on stderr, on a terminal or with -v. */
void xl__say_progress(const struct xl *xl, const char *what);

/* Options as getopt_long takes them; an unknown one is a usage error.
 * Returns the option, -1 at the end, or '?' after a message.  `-h` and
 * `--help` are dealt with: they return 'h' after printing. */
struct option;
int xl__next_option(struct xl *xl, int argc, char *argv[],
                    const char *short_options,
                    const struct option *long_options);

/* Opens xl->ctx and xl->host, once. */
int xl__try_open_host(struct xl *xl, struct libspawn_err *err);

/* The same where an error is printed; returns what to exit with. */
int xl__open_host(struct xl *xl);

/* For subcommands that take one guest and no options of their own: parses,
 * opens the host, finds the guest.  Otherwise *status_r is what to return. */
bool xl__one_guest(struct xl *xl, int argc, char *argv[], uint32_t *domid_r,
                   int *status_r);

#endif
