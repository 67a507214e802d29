/*
 * The least that conmon takes for an OCI runtime: "create" starts one program
 * and writes its pid into the file of --pid-file.
 */
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

int
main(int argc, char *argv[])
{
    static char program[] = "/bin/sleep";
    static char seconds[] = "1000";
    char *const program_argv[] = { program, seconds, NULL };
    const char *pid_path = NULL;
    char text[16];
    pid_t pid;
    int i;

    for (i = 1; i + 1 < argc; i++) {
        if (!strcmp(argv[i], "--pid-file")) {
            pid_path = argv[i + 1];
        }
    }
    if (!pid_path ||
        posix_spawn(&pid, program, NULL, NULL, program_argv, environ)) {
        return 1;
    }
    snprintf(text, sizeof text, "%d", (int)pid);
    return libspawn__file_replace(pid_path, text, strlen(text), 0644, NULL)
               ? 1
               : 0;
}
