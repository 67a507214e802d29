#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/names.h"
#include "guest/supervised.h"
#include "proc/program.h"

int
libspawn__supervised_command(const char *state_dir,
                             const char *const options[], const char *name,
                             char **path_r, struct libspawn__strv *argv,
                             struct libspawn_err *err)
{
    static const char program[] = "guest-supervisor";
    int rc = libspawn__program_find(program, path_r, err);

    if (!rc) {
        rc = libspawn__strv_add(argv, program, err);
    }
    if (!rc) {
        rc = libspawn__strv_addf(argv, err, "--state-dir=%s",
                                 state_dir ? state_dir : "");
    }
    for (; !rc && *options; options++) {
        rc = libspawn__strv_add(argv, *options, err);
    }
    if (!rc) {
        rc = libspawn__strv_add(argv, "--", err);
    }
    return rc ? rc : libspawn__strv_add(argv, name, err);
}

/* Nobody waits for its verdict, so it gets no channel; what it has to say is
 * told as events. */
static int
start(const struct libspawn_host *host, const char *name,
      const char *const options[], pid_t *pid_r, struct libspawn_err *err)
{
    AUTO_STRV struct libspawn__strv argv = { 0 };
    AUTO_FREE char *path = NULL;
    AUTO_FD int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int rc;
    int r;

    if (fd < 0) {
        return libspawn__fail_errno(err, errno, "opening '/dev/null'");
    }
    rc = libspawn__supervised_command(host->state_dir, options, name, &path,
                                      &argv, err);
    if (rc) {
        return rc;
    }
    r = libspawn__program_spawn(path, argv.items, environ, fd, false, pid_r);
    return r ? libspawn__program_fail(err, r, path) : 0;
}

int
libspawn__supervised_start(const struct libspawn_host *host, const char *name,
                           bool is_again, struct libspawn_err *err)
{
    const char *const options[] = { is_again ? "--again" : "--adopt", NULL };
    pid_t pid;

    return start(host, name, options, &pid, err);
}

int
libspawn__supervised_start_monitor(const struct libspawn_host *host,
                                   const char *name, pid_t *pid_r,
                                   struct libspawn_err *err)
{
    static const char *const options[] = { "--monitor", "--again", NULL };

    return start(host, name, options, pid_r, err);
}

/* ---- After one that died ----------------------------------------------- */

/* Whether its supervisor died, rather than left: who leaves takes its pid file
 * along. */
static void
restore(struct libspawn_host *host, const char *name)
{
    uint32_t domid;

    if (libspawn__supervised_is(host, name)) {
        return;
    }
    if (!libspawn__name_find(host, name, &domid, NULL) &&
        libspawn__supervised_is_domain(host, domid)) {
        libspawn__supervised_start(host, name, true, NULL);
    } else {
        libspawn__supervised_tidy(host, name);
    }
}

/* A monitor whose supervisor left, or was not there yet, and which was killed
 * at that moment. */
static void
tidy_monitor(struct libspawn_host *host, const char *name)
{
    if (libspawn__supervised_has_left(host, name)) {
        libspawn__supervised_tidy(host, name);
    }
}

static const struct {
    const char *suffix; /* of files that are pid files */
    void (*fn)(struct libspawn_host *host, const char *name);
} restorers[] = {
    { ".pid", restore },
    { ".monitor", tidy_monitor },
};

static void
look_at(struct libspawn_host *host, char *file)
{
    size_t len = strlen(file);
    size_t i;

    for (i = 0; i < ARRAY_SIZE(restorers); i++) {
        size_t suffix_len = strlen(restorers[i].suffix);

        if (len > suffix_len &&
            !strcmp(file + len - suffix_len, restorers[i].suffix)) {
            file[len - suffix_len] = '\0';
            restorers[i].fn(host, file);
            return;
        }
    }
}

void
libspawn__supervised_restore(struct libspawn_host *host)
{
    AUTO_FREE char *path = libspawn__supervised_dir(host);
    DIR *dir = path ? opendir(path) : NULL;
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        look_at(host, entry->d_name);
    }
    if (dir) {
        closedir(dir);
    }
}
