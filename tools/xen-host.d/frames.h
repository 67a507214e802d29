/*
 * frames - what travels between the host and the throwaway Xen host
 *
 * One virtio-serial port carries everything a run needs: the request, the
 * command's input, both its outputs and its end. Being one ordered stream it
 * answers by itself what separate ports cannot: which output came before the
 * end, and whether all of it has arrived. relay.c speaks for the host,
 * agent.c inside dom0.
 *
 * A frame is a type (1 byte), the size of its payload (4 bytes, little
 * endian, at most FRAME_MAX) and the payload.
 */

#ifndef XEN_HOST_FRAMES_H
#define XEN_HOST_FRAMES_H

#include <stdbool.h>
#include <stddef.h>

enum frame_type {
    FRAME_HELLO = 'h',   /* dom0 -> host: the agent listens */
    FRAME_WINDOW = 'w',  /* host -> dom0: struct frame_window; before
                                 * the request it asks for a terminal */
    FRAME_REQUEST = 'r', /* host -> dom0: argv, each word ended by 0 */
    FRAME_STARTED = 's', /* dom0 -> host: the command runs */
    FRAME_INPUT = 'i',   /* host -> dom0: typed at the terminal */
    FRAME_OUTPUT = 'o',  /* dom0 -> host: the command's stdout */
    FRAME_ERROR = 'e',   /* dom0 -> host: the command's stderr */
    FRAME_EXIT = 'x',    /* dom0 -> host: 1 byte, the exit status */
};

#define FRAME_HEAD 5
#define FRAME_MAX 32768 /* as much as one write to the port takes */

struct frame_window {
    unsigned char rows[2]; /* little endian */
    unsigned char columns[2];
};

/* Bytes received so far of the next frame. Start with all zeroes. */
struct frame_reader {
    unsigned char bytes[FRAME_HEAD + FRAME_MAX];
    size_t size;
};

struct frame {
    enum frame_type type;
    const unsigned char *payload; /* inside the reader */
    size_t size;
};

/* Writes one frame whole, waiting as long as it takes. False: no peer. */
bool frame_send(int fd, enum frame_type type, const void *payload,
                size_t size);

/* Reads what is there, at most to the end of one frame. False: no peer, or
 * one that does not speak this protocol. */
bool frame_receive(struct frame_reader *reader, int fd);

/* The frame in the reader if it is complete; valid until the next receive. */
bool frame_complete(struct frame_reader *reader, struct frame *frame_r);

/* Bytes on their way to someone who may not take them all at once. While
 * there are any, wait for `fd` to be writable and receive no more frames: the
 * bytes may lie in the reader. */
struct pending {
    int fd;
    const unsigned char *bytes;
    size_t size;
};

/* Writes as much as cannot block. False: nobody will ever take the rest;
 * errno says why, and nothing is pending any more. */
bool pending_write(struct pending *pending);

/* Writes all bytes, waiting as long as it takes. */
bool write_all(int fd, const void *bytes, size_t size);

#endif
