#!/usr/bin/env python3
"""spawn.py - starts a program with libspawn, from Python by ctypes

    python3 spawn.py /bin/sh -c 'echo hi; exit 3'

No package and no compiler: ctypes loads libspawn.so.0, and its functions are
declared below, those that are used.  The descriptor of the context is polled,
as asyncio would by loop.add_reader.  Ctrl-C stops the program.  How it ended
is read as JSON, and our exit status is made from it.

While the program runs, its record is store/example/python in the current
directory.
"""

import ctypes
import json
import os
import select
import signal
import sys
from ctypes import CFUNCTYPE, POINTER, byref, c_char, c_char_p, c_int, c_void_p

STARTED, READY, FAILED, EXITED = range(4)


class Err(ctypes.Structure):
    """struct libspawn_err"""

    _fields_ = [
        ("code", c_int),
        ("sys_errno", c_int),
        ("text", c_char * 512),
    ]


class CtxOptions(ctypes.Structure):
    """struct libspawn_ctx_options"""

    _fields_ = [("watcher_path", c_char_p), ("hooks", c_void_p)]


EventFn = CFUNCTYPE(None, c_void_p, c_int, c_void_p)

# Without its types ctypes takes every argument and result for an int, which
# cuts pointers in half.
PROTOTYPES = {
    "libspawn_ctx_new": (c_int, [POINTER(CtxOptions), POINTER(c_void_p),
                                 POINTER(Err)]),
    "libspawn_ctx_fd": (c_int, [c_void_p]),
    "libspawn_ctx_dispatch": (c_int, [c_void_p, POINTER(Err)]),
    "libspawn_ctx_free": (None, [c_void_p]),
    "libspawn_plan_new": (c_void_p, []),
    "libspawn_plan_set_label": (None, [c_void_p, c_char_p, c_char_p]),
    "libspawn_plan_set_record": (None, [c_void_p, c_char_p, c_char_p]),
    "libspawn_plan_set_program": (None, [c_void_p, c_char_p]),
    "libspawn_plan_add_arg": (None, [c_void_p, c_char_p]),
    "libspawn_plan_add_env": (None, [c_void_p, c_char_p]),
    "libspawn_plan_free": (None, [c_void_p]),
    "libspawn_child_start": (c_int, [c_void_p, c_void_p, EventFn, c_void_p,
                                     POINTER(c_void_p), POINTER(Err)]),
    "libspawn_child_pid": (c_int, [c_void_p]),
    "libspawn_child_report": (c_void_p, [c_void_p]),
    "libspawn_child_stop": (None, [c_void_p]),
    "libspawn_child_free": (None, [c_void_p]),
    # c_void_p, not c_char_p, which would lose the pointer that is to be freed.
    "libspawn_report_json": (c_void_p, [c_void_p]),
    "libspawn_report_text": (c_void_p, [c_void_p]),
    "libspawn_report_exit_status": (c_int, [c_void_p]),
}

lib = ctypes.CDLL("libspawn.so.0")
libc = ctypes.CDLL(None)
libc.free.argtypes = [c_void_p]
for name, (result, arguments) in PROTOTYPES.items():
    getattr(lib, name).restype = result
    getattr(lib, name).argtypes = arguments


def take_string(pointer):
    """A string that the caller must free, as a str."""
    if not pointer:
        raise MemoryError
    text = ctypes.string_at(pointer).decode(errors="replace")
    libc.free(pointer)
    return text


def must(rc, err):
    if rc:
        sys.exit(f"{sys.argv[0]}: {err.text.decode(errors='replace')}")


def make_plan(argv):
    plan = lib.libspawn_plan_new()
    store = b"dir:" + os.path.abspath("store").encode()
    lib.libspawn_plan_set_label(plan, b"program", None)
    lib.libspawn_plan_set_record(plan, store, b"/example/python")
    lib.libspawn_plan_set_program(plan, os.fsencode(argv[0]))
    for arg in argv:
        lib.libspawn_plan_add_arg(plan, os.fsencode(arg))
    for key, value in os.environb.items():
        lib.libspawn_plan_add_env(plan, key + b"=" + value)
    return plan


def main(argv):
    if not argv:
        print(f"usage: {sys.argv[0]} PROGRAM [ARGUMENT...]", file=sys.stderr)
        return 2
    err, ctx, child = Err(), c_void_p(), c_void_p()
    ended = []

    # The variable keeps the callback alive as long as the child is.
    @EventFn
    def on_event(which, event, _user):
        if event == STARTED:
            print(f"process {lib.libspawn_child_pid(which)} is started")
        elif event == READY:
            print("it is ready")
        else:
            report = lib.libspawn_child_report(which)
            ended.append(lib.libspawn_report_exit_status(report))
            print(take_string(lib.libspawn_report_text(report)), end="")
            facts = json.loads(take_string(lib.libspawn_report_json(report)))
            print(f"end: {facts['end']} after {facts['lived_ms']} ms")
        sys.stdout.flush()

    # Needed only where the library is not installed in its final place.
    options = CtxOptions(os.environb.get(b"SPAWN_WATCHER"), None)
    must(lib.libspawn_ctx_new(byref(options), byref(ctx), byref(err)), err)
    plan = make_plan(argv)
    must(lib.libspawn_child_start(ctx, plan, on_event, None, byref(child),
                                  byref(err)), err)
    signal.signal(signal.SIGINT,
                  lambda *_: lib.libspawn_child_stop(child))

    poll = select.poll()
    poll.register(lib.libspawn_ctx_fd(ctx), select.POLLIN)
    while not ended:
        poll.poll()
        must(lib.libspawn_ctx_dispatch(ctx, byref(err)), err)

    lib.libspawn_child_free(child)
    lib.libspawn_plan_free(plan)
    lib.libspawn_ctx_free(ctx)
    return ended[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
