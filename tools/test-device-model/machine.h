/*
 * The machine that the test device model pretends to run, as QMP sees it: a
 * word for its state, and the commands.  Text in, text out; monitor.h has the
 * connections.
 *
 *   PRELAUNCH --cont--> RUNNING <--cont, stop--> PAUSED
 *                          |  power button, with -no-shutdown
 *                          v
 *                       SHUTDOWN
 *
 * Knowledge: docs/interop/qmp-spec.txt and qapi/ in the QEMU tree, and what
 * QEMU 7.2 answers.
 */
#ifndef TOOLS_TEST_DEVICE_MODEL_MACHINE_H
#define TOOLS_TEST_DEVICE_MODEL_MACHINE_H

#include "tools/test-device-model/options.h"

enum machine_status {
    MACHINE_PRELAUNCH,
    MACHINE_RUNNING,
    MACHINE_PAUSED,
    MACHINE_SHUTDOWN
};

/* What a command asked for that comes only after its answer. */
enum machine_request {
    MACHINE_REQUEST_NONE,
    MACHINE_REQUEST_POWERDOWN,
    MACHINE_REQUEST_QUIT,
    MACHINE_REQUEST_RESET
};

struct machine_callbacks {
    void (*event)(void *user, const char *line); /* for every client */
    void (*quit)(void *user);                    /* the device model ends */
    void *user;
};

struct machine {
    const struct options *options;
    struct machine_callbacks callbacks;
    enum machine_status status;
    enum machine_request request;
};

void machine_init(struct machine *machine, const struct options *options,
                  const struct machine_callbacks *callbacks);

/* Lines for a client, without the line end; freed by the caller; NULL without
 * memory. */
char *machine_greeting(void);

/* Runs one command.  '*is_negotiated' belongs to the client.  The answer is
 * NULL when there is to be none. */
char *machine_run(struct machine *machine, const char *line, size_t size,
                  bool *is_negotiated);

/* Does what the last command asked for; after its answer is sent. */
void machine_run_request(struct machine *machine);

/* SIGTERM came: tells the clients. */
void machine_announce_term(struct machine *machine);

#endif
