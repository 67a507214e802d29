/*
 * How the memory of a guest is divided: pure arithmetic on its configuration,
 * no hypervisor.
 *
 * All of "memory" belongs to the guest, the emulated graphics card's part
 * (the video memory) included: the image gets the rest, and the device model
 * populates the video memory when it makes the card.
 *
 *   0           1 MiB                 low_end     4 GiB       high_end
 *   | firmware  | RAM ...             | hole (devices) | RAM ... |
 */
#ifndef LIBSPAWN_GUEST_XEN_MEMORY_H
#define LIBSPAWN_GUEST_XEN_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "include/libspawn-guest.h"

struct libspawn__xen_memory {
    uint64_t max_kib;    /* most it can ever have */
    uint64_t target_kib; /* what it has at start */
    uint64_t video_kib;
    uint64_t paging_kib;  /* for the hypervisor's tables of this guest */
    uint64_t limit_kib;   /* what the hypervisor lets it allocate */
    uint64_t balloon_kib; /* what the guest is told to stay at */
    uint64_t needed_kib;  /* free memory that its creation takes */
    uint64_t low_end;     /* address behind the RAM below 4 GiB */
    uint64_t high_end;    /* address behind the RAM above 4 GiB; 0: none */
};

/* 'hap' says whether the processor translates addresses (else the hypervisor
 * keeps shadow tables).  LIBSPAWN_ERR_INVALID: too little for the card, or
 * the numbers make no sense. */
int libspawn__xen_memory_plan(const struct libspawn_guest_config *config,
                              enum libspawn_guest_type type, bool hap,
                              struct libspawn__xen_memory *memory_r,
                              struct libspawn_err *err);

/* MiB of memory on the emulated graphics card 'vga' when nothing is said of
 * it, and the least that it works with. */
uint32_t libspawn__xen_memory_default_video(const char *vga);

#endif
