/*
 * How guests are, asked of their monitors: all at once, so that one that does
 * not answer delays nobody but the asker, and him once.
 */
#ifndef LIBSPAWN_GUEST_QEMU_STATUS_H
#define LIBSPAWN_GUEST_QEMU_STATUS_H

#include "guest/hypervisor.h"

struct libspawn__qemu_question {
    uint32_t domid;
    unsigned int state; /* of enum libspawn_guest_state; stays as it is when
                           there is no answer */
};

/* Returns when all have answered, or cannot any more, at the latest after
 * 'timeout_ms'.  A monitor that serves another client does not answer. */
void libspawn__qemu_ask(struct libspawn_host *host,
                        struct libspawn__qemu_question *questions, size_t n,
                        int timeout_ms);

#endif
