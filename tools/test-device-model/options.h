/*
 * What the test device model was asked to do.
 *
 * Its own options are "--NAME" or "--NAME=VALUE", in the environment variable
 * TEST_DEVICE_MODEL (separated by blanks) and on the command line, which comes
 * second and so has the last word.  An unknown one is an error, so that a
 * misspelt fault never looks like a passed test.  Everything else is QEMU's:
 * a few words are understood, all others accepted and ignored.
 */
#ifndef TOOLS_TEST_DEVICE_MODEL_OPTIONS_H
#define TOOLS_TEST_DEVICE_MODEL_OPTIONS_H

#include "base/str.h"

#define TDM_ENVIRONMENT "TEST_DEVICE_MODEL"

/* How it ends by itself. */
enum ending {
    ENDING_NONE,
    ENDING_EXIT,   /* with status 'ending_value' */
    ENDING_SIGNAL, /* by signal 'ending_value' */
    ENDING_CORE,   /* by abort(3), after raising the core size limit */
    ENDING_STOP    /* not at all: it stops itself */
};

struct options {
    /* When and how it ends. */
    enum ending ending;
    int ending_value;
    bool ends_after_ready; /* else the ending comes before anything else */
    uint64_t die_after_ms;

    /* When and where it says that it is ready. */
    bool never_ready;
    uint64_t ready_after_ms;
    int notify_fd;         /* -1: none */
    const char *store_dir; /* with state_node; NULL: none */
    const char *state_node;
    const char *xen_domid; /* of -xen-domid; NULL: not a Xen guest */

    /* What it does with SIGTERM. */
    bool ignore_term;
    uint64_t slow_term_ms;

    /* How it speaks QMP. */
    bool mute;
    uint64_t mute_after; /* connections; 0: never */
    bool greet_only;
    bool garbage;
    bool flood;
    bool ignore_powerdown;
    uint64_t answer_after_ms;
    const char *status;               /* NULL: the true one */
    const char *log_qmp;              /* NULL: no log */
    struct libspawn__strv no_answers; /* commands */
    struct libspawn__strv chardevs;   /* values of -chardev */
    struct libspawn__strv monitors;   /* values of -mon */
    const char *vnc;                  /* value of -vnc, or NULL */
    bool starts_stopped;              /* -S */
    bool no_shutdown;                 /* -no-shutdown */

    /* What else it does when it starts. */
    uint64_t noise_size;
    struct libspawn__strv stderr_lines;
    bool fork_child;
    const char *fork_child_file; /* gets the pid; NULL: nobody is told */
    bool close_stdio;
    const char *report_fds; /* path; NULL: none */

    /* What it prints instead of running. */
    bool help;
    bool version;
    bool qemu_version;

    char *environment; /* what the words of the variable point into */
};

/* Reads the environment variable and 'argv'.  Strings in the result point
 * into both; on failure it still has to be disposed of. */
int options_parse(struct options *options, char **argv,
                  struct libspawn_err *err);
void options_dispose(struct options *options);

/* The table of options on stdout, for --help. */
void options_print_help(void);

#endif
