/*
 * The rest of the PC: interrupts that end the sleep of the processor, power
 * and reset.
 */
#ifndef TESTS_GUEST_MACHINE_H
#define TESTS_GUEST_MACHINE_H

#include <stdbool.h>

/* From now on the processor wakes up when the serial port has received
 * something, and when the power button is pressed. */
void machine_init(void);

/* Since the last time this was asked. */
bool machine_button_was_pressed(void);

/* Does nothing on a machine whose power management is not known. */
void machine_power_off(void);

_Noreturn void machine_reset(void);

/* An exception that cannot be handled, while handling one that could not. */
_Noreturn void machine_triple_fault(void);

#endif
