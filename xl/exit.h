/*
 * Exit statuses of xl, as xl(1) lists them.  `xl create` passes on what
 * libspawn_report_exit_status says of a device model that failed.
 */
#ifndef XL_EXIT_H
#define XL_EXIT_H

enum xl__exit {
    XL__EXIT_OK = 0,
    XL__EXIT_FAILED = 1,
    XL__EXIT_USAGE = 2,
    XL__EXIT_BUSY = 75,        /* try again: sysexits.h's EX_TEMPFAIL */
    XL__EXIT_SIGNAL_BASE = 128 /* ended by a signal: this plus its number */
};

#endif
