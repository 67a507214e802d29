/*
 * What the guest says and hears: the first serial port, and the text screen,
 * which shows all that is said.
 */
#ifndef TESTS_GUEST_CONSOLE_H
#define TESTS_GUEST_CONSOLE_H

#include <stdint.h>

/* The port is set up to interrupt when bytes have come; the screen is
 * cleared. */
void console_init(void);

void console_put(char c); /* a newline becomes CR LF on the serial port */
void console_puts(const char *text);
void console_put_number(uint32_t number); /* decimal */

/* The next byte that has come over the serial port, or -1. */
int console_get(void);

#endif
