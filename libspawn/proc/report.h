/*
 * The report of a child, inside: the public structure and the strings behind
 * it.
 */
#ifndef LIBSPAWN_PROC_REPORT_H
#define LIBSPAWN_PROC_REPORT_H

#include "base/str.h"
#include "proc/plan.h"

struct libspawn__report {
    struct libspawn_report pub; /* its strings point to those below */
    char *label;
    char *guest;
    char *program;
    char *stage;
    char *detail;
    char *step;
    char *tail;
    char *log_path;
    struct libspawn__strv argv;
};

/* Takes from the plan what a report tells of it. */
int libspawn__report_init(struct libspawn__report *report,
                          const struct libspawn_plan *plan,
                          struct libspawn_err *err);
void libspawn__report_dispose(struct libspawn__report *report);

/* Replaces one of the strings above.  Without memory the old one stays: a
 * report with a stale stage is better than none. */
void libspawn__report_set(struct libspawn__report *report, char **slot,
                          const char *text);

/* "deadline", as in its JSON; and how, as a clause without a subject, "was not
 * ready within 5 s (...) and was ended"; NULL without memory. */
const char *libspawn__report_end_name(const struct libspawn_report *report);
char *libspawn__report_how(const struct libspawn_report *report);

#endif
