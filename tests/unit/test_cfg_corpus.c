/*
 * Every file of tests/cfg: NAME.cfg gives exactly what NAME.ok says, which
 * is the warnings and then the configuration as JSON (pass-*) or the error
 * (fail-*).  Lines "# override: TEXT" in a file are given as overrides.
 * Where there is a NAME.libxl, the stock form of the configuration is that.
 */
#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "guest/libxl_json.h"
#include "tests/lib/harness.h"
#include "xl/cfg.h"

static void
find_overrides(const char *name, struct libspawn__strv *overrides)
{
    static const char mark[] = "# override: ";
    AUTO_FILE FILE *file = fopen(name, "re");
    AUTO_FREE char *line = NULL;
    size_t n_allocated = 0;
    ssize_t len;

    ck_assert_ptr_nonnull(file);
    while ((len = getline(&line, &n_allocated, file)) > 0) {
        if (libspawn__str_has_prefix(line, mark)) {
            line[len - 1] = '\0';
            assert_ok(libspawn__strv_add(overrides, line + strlen(mark), NULL),
                      NULL);
        }
    }
}

/* What xl would show for the file; the configuration when there is one. */
static char *
outcome_of(const char *name, struct libspawn_guest_config *config)
{
    AUTO_STRV struct libspawn__strv overrides = { 0 };
    AUTO_STRV struct libspawn__strv warnings = { 0 };
    AUTO_BUF struct libspawn__buf outcome = { 0 };
    AUTO_FREE char *json = NULL;
    struct libspawn_err err = { 0 };
    size_t i;
    int rc;

    find_overrides(name, &overrides);
    rc = xl__config_load(name, overrides.items, overrides.n_items, config,
                         &warnings, &err);
    for (i = 0; i < warnings.n_items; i++) {
        libspawn__buf_printf(&outcome, "%s\n", warnings.items[i]);
    }
    if (rc) {
        ck_assert_int_eq(rc, err.code);
        libspawn__buf_printf(&outcome, "%s\n", err.text);
    } else {
        assert_ok(libspawn_guest_config_to_json(config, &json, &err), &err);
        libspawn__buf_puts(&outcome, json);
    }
    return libspawn__buf_take(&outcome);
}

/* NAME.cfg with another ending. */
static char *
sibling(const char *name, const char *ending)
{
    int len = (int)(strlen(name) - strlen(".cfg"));

    return libspawn__str_format("%.*s%s", len, name, ending);
}

static bool
is_as_expected(const char *name, const char *ending, const char *text)
{
    AUTO_FREE char *path = sibling(name, ending);
    AUTO_FREE char *expected = harness_read_file(path);

    if (!strcmp(expected, text)) {
        return true;
    }
    fprintf(stderr, "tests/cfg/%s: expected\n%sbut got\n%s", path, expected,
            text);
    return false;
}

/* The number of files that are not as expected. */
static unsigned int
check_file(const char *name)
{
    struct libspawn_guest_config config = { 0 };
    AUTO_FREE char *outcome = outcome_of(name, &config);
    AUTO_FREE char *libxl_path = sibling(name, ".libxl");
    AUTO_FREE char *libxl = NULL;
    unsigned int n_wrong = !is_as_expected(name, ".ok", outcome);

    if (libspawn__str_has_prefix(name, "fail-") == (config.name != NULL)) {
        fprintf(stderr, "tests/cfg/%s: does not what its name says\n", name);
        n_wrong++;
    }
    if (!access(libxl_path, F_OK)) {
        assert_ok(libspawn__guest_config_to_libxl_json(&config, &libxl, NULL),
                  NULL);
        n_wrong += !is_as_expected(name, ".libxl", libxl);
    }
    libspawn_guest_config_dispose(&config);
    return n_wrong;
}

/* Enters tests/cfg and checks the files that begin with 'prefix'. */
static void
check_files(const char *prefix, unsigned int n_at_least)
{
    AUTO_FREE char *path =
        libspawn__str_format("%s/tests/cfg", harness_source_dir());
    AUTO_DIR DIR *dir = opendir(path);
    struct dirent *entry;
    unsigned int n_wrong = 0;
    unsigned int n = 0;

    ck_assert_ptr_nonnull(dir);
    ck_assert_int_eq(chdir(path), 0);
    while ((entry = readdir(dir))) {
        if (libspawn__str_has_prefix(entry->d_name, prefix) &&
            libspawn__str_has_suffix(entry->d_name, ".cfg")) {
            n_wrong += check_file(entry->d_name);
            n++;
        }
    }
    ck_assert_uint_eq(n_wrong, 0);
    ck_assert_uint_ge(n, n_at_least);
}

TEST(cfg_good_files__give_the_expected_configuration_and_warnings)
{
    check_files("pass-", 35);
}

TEST(cfg_bad_files__give_the_expected_error)
{
    check_files("fail-", 100);
}

TEST_MAIN("cfg_corpus")
