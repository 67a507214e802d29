/*
 * Our reading of xl.cfg against the stock xl's, on every good file of
 * tests/cfg: its dry run has the same result as our stock form; and the stock
 * toolstack can read our stock form where it keeps its own.
 */
#include <dlfcn.h>
#include <glob.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"
#include "guest/libxl_json.h"
#include "tests/lib/harness.h"
#include "xl/cfg.h"

#define AUTO_CONFIG AUTO(libspawn_guest_config_dispose)

/* ---- Comparison -------------------------------------------------------- */

/* Stock leaves out what it takes for a default; other defaults are its own
 * and say nothing about the guest.  */
static const struct {
    const char *key;
    const char *text; /* NULL: a number */
    int64_t number;
} defaults[] = {
    { "claim_mode", "True", 0 },     { "domid", NULL, UINT32_MAX },
    { "msr_relaxed", "False", 0 },   { "on_crash", "destroy", 0 },
    { "on_poweroff", "destroy", 0 }, { "on_watchdog", "destroy", 0 },
    { "pdev_path", "", 0 },          { "video_memkb", NULL, 0 },
};

static bool
means_nothing(const char *key, const struct libspawn__json *json)
{
    const char *text = libspawn__json_string(json);
    int64_t number = -1;
    size_t i;

    if (!json) {
        return true;
    }
    libspawn__json_integer(json, &number);
    for (i = 0; i < ARRAY_SIZE(defaults); i++) {
        if (!strcmp(defaults[i].key, key) &&
            libspawn__str_equal(defaults[i].text, text) &&
            (text || defaults[i].number == number)) {
            return true;
        }
    }
    return false;
}

static bool same(const char *key, const struct libspawn__json *a,
                 const struct libspawn__json *b);

/* Whether every member of 'a' is the same in 'b'. */
static bool
is_within(const struct libspawn__json *a, const struct libspawn__json *b)
{
    size_t i;

    for (i = 0; i < libspawn__json_n_items(a); i++) {
        const char *key = libspawn__json_key(a, i);

        if (!same(key, libspawn__json_item(a, i),
                  libspawn__json_member(b, key))) {
            return false;
        }
    }
    return true;
}

static bool
same_items(const struct libspawn__json *a, const struct libspawn__json *b)
{
    size_t n = libspawn__json_n_items(a);
    size_t i;

    for (i = 0; i < n; i++) {
        if (!same("", libspawn__json_item(a, i), libspawn__json_item(b, i))) {
            return false;
        }
    }
    return n == libspawn__json_n_items(b);
}

static bool
same_atoms(const struct libspawn__json *a, const struct libspawn__json *b)
{
    int64_t number_a = 0;
    int64_t number_b = 0;

    libspawn__json_integer(a, &number_a);
    libspawn__json_integer(b, &number_b);
    return libspawn__json_get_type(a) == libspawn__json_get_type(b) &&
           number_a == number_b &&
           libspawn__str_equal(libspawn__json_string(a),
                               libspawn__json_string(b)) &&
           libspawn__json_bool(a, false) == libspawn__json_bool(b, false);
}

/* NULL is "not there"; an empty object or array is the same. */
static bool
same(const char *key, const struct libspawn__json *a,
     const struct libspawn__json *b)
{
    enum libspawn__json_type type = libspawn__json_get_type(a ? a : b);
    bool is_same;

    if (means_nothing(key, a) && means_nothing(key, b)) {
        return true;
    }
    if (type == LIBSPAWN__JSON_OBJECT) {
        return is_within(a, b) && is_within(b, a);
    }
    is_same = type == LIBSPAWN__JSON_ARRAY ? same_items(a, b)
                                           : same_atoms(a, b);
    if (!is_same) {
        fprintf(stderr, "member '%s' differs\n", key);
    }
    return is_same;
}

/* ---- Files ------------------------------------------------------------- */

static void
find_files(glob_t *files)
{
    AUTO_FREE char *pattern =
        libspawn__str_format("%s/tests/cfg/pass-*.cfg", harness_source_dir());

    ck_assert_int_eq(glob(pattern, 0, NULL, files), 0);
}

static void
load(const char *path, struct libspawn__strv *overrides,
     struct libspawn_guest_config *config)
{
    static const char mark[] = "# override: ";
    AUTO_FREE char *text = harness_read_file(path);
    struct libspawn_err err = { 0 };
    char *rest = text;
    char *line;

    while ((line = strsep(&rest, "\n"))) {
        if (libspawn__str_has_prefix(line, mark)) {
            assert_ok(libspawn__strv_add(overrides, line + strlen(mark), NULL),
                      NULL);
        }
    }
    assert_ok(xl__config_load(path, overrides->items, overrides->n_items,
                              config, NULL, &err),
              &err);
    if (!config->uuid) {
        static const char uuid[] =
            "uuid = '6d1f9c0e-8a3b-4f0e-9a55-0f5d1c2b3a49'";

        assert_ok(libspawn__strv_add(overrides, uuid, NULL), NULL);
        assert_ok(xl__config_load(path, overrides->items, overrides->n_items,
                                  config, NULL, &err),
                  &err);
    }
}

static struct libspawn__json *
parse(const char *text)
{
    struct libspawn__json *json = NULL;
    struct libspawn_err err = { 0 };

    assert_ok(libspawn__json_parse(text, strlen(text), SIZE_MAX, &json, &err),
              &err);
    return json;
}

static char *
stock_form(const struct libspawn_guest_config *config)
{
    char *text = NULL;

    assert_ok(libspawn__guest_config_to_libxl_json(config, &text, NULL), NULL);
    return text;
}

/* ---- The same result --------------------------------------------------- */

/* Why the two are not to be compared. */
static const struct {
    const char *name;
    const char *why;
} exceptions[] = {
    { "pass-comment-without-newline.cfg", "stock refuses it" },
    { "pass-cpus-list.cfg", "affinity is not in our stock form" },
    { "pass-cpus.cfg", "affinity is not in our stock form" },
    { "pass-crlf.cfg", "stock refuses it" },
    { "pass-empty-strings.cfg", "an empty string is none here" },
    { "pass-escapes.cfg", "stock refuses escapes with digits" },
    { "pass-minimal.cfg", "stock wants a kernel" },
    { "pass-pci.cfg", "stock has no choice among devices" },
    { "pass-traditional.cfg", "not supported" },
    { "pass-unknown-keys.cfg", "some are known to stock" },
    { "pass-utf8.cfg", "stock refuses escapes with digits" },
    { "pass-vfb-listen.cfg", "stock divides it later" },
    { "pass-vif.cfg", "some parameters are not supported" },
    { "pass-viridian-list.cfg", "groups are not supported" },
    { "pass-vnclisten-display.cfg", "stock divides it later" },
    { "pass-vnclisten-ipv6.cfg", "stock has no such form" },
    { "pass-vnclisten-plain-ipv6.cfg", "the default size is explicit here" },
};

static bool
is_exception(const char *path)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(exceptions); i++) {
        if (libspawn__str_has_suffix(path, exceptions[i].name)) {
            return true;
        }
    }
    return false;
}

static bool
stock_agrees(const char *path)
{
    AUTO_CONFIG struct libspawn_guest_config config = { 0 };
    AUTO_STRV struct libspawn__strv overrides = { 0 };
    AUTO_STRV struct libspawn__strv argv = { 0 };
    AUTO_OUTPUT struct harness_output output = { 0 };
    AUTO_JSON struct libspawn__json *stock = NULL;
    AUTO_JSON struct libspawn__json *ours = NULL;
    AUTO_FREE char *text = NULL;
    size_t i;

    load(path, &overrides, &config);
    libspawn__strv_addf(&argv, NULL, "xl");
    libspawn__strv_addf(&argv, NULL, "create");
    libspawn__strv_addf(&argv, NULL, "-n");
    libspawn__strv_add(&argv, path, NULL);
    for (i = 0; i < overrides.n_items; i++) {
        libspawn__strv_add(&argv, overrides.items[i], NULL);
    }
    output = harness_run_argv((const char *const *)argv.items);
    if (output.status) {
        fprintf(stderr, "%s: stock xl says\n%s", path, output.err);
        return false;
    }
    text = stock_form(&config);
    stock = parse(output.out);
    ours = parse(text);
    if (!same("", stock, ours)) {
        fprintf(stderr, "%s: stock xl has\n%sand we have\n%s", path,
                output.out, text);
        return false;
    }
    return true;
}

TEST_TIMEOUT(cfg_stock_dry_run__has_the_same_result, 60)
{
    unsigned int n_wrong = 0;
    glob_t files;
    size_t i;

    find_files(&files);
    for (i = 0; i < files.gl_pathc; i++) {
        if (!is_exception(files.gl_pathv[i])) {
            n_wrong += !stock_agrees(files.gl_pathv[i]);
        }
    }
    globfree(&files);
    ck_assert_uint_eq(n_wrong, 0);
}

/* ---- The stored form, in the stock library ----------------------------- */

/* The part of libxl that reads and writes it, found when the test runs. */
static struct {
    int (*ctx_alloc)(void **ctx_r, int version, unsigned int flags,
                     void *logger);
    int (*ctx_free)(void *ctx);
    void (*config_init)(void *config);
    int (*config_from_json)(void *ctx, void *config, const char *json);
    char *(*config_to_json)(void *ctx, void *config);
    void (*config_dispose)(void *config);
} libxl;

static bool
find_libxl(void)
{
    void *library = dlopen("libxenlight.so.4.17", RTLD_NOW);

    if (!library) {
        return false;
    }
    *(void **)&libxl.ctx_alloc = dlsym(library, "libxl_ctx_alloc");
    *(void **)&libxl.ctx_free = dlsym(library, "libxl_ctx_free");
    *(void **)&libxl.config_init = dlsym(library, "libxl_domain_config_init");
    *(void **)&libxl.config_from_json =
        dlsym(library, "libxl_domain_config_from_json");
    *(void **)&libxl.config_to_json =
        dlsym(library, "libxl_domain_config_to_json");
    *(void **)&libxl.config_dispose =
        dlsym(library, "libxl_domain_config_dispose");
    return libxl.ctx_alloc && libxl.ctx_free && libxl.config_init &&
           libxl.config_from_json && libxl.config_to_json &&
           libxl.config_dispose;
}

static bool
library_reads(void *ctx, const char *path)
{
    /* Larger than the library's structure of any version. */
    static max_align_t stock_config[8192];
    AUTO_CONFIG struct libspawn_guest_config config = { 0 };
    AUTO_STRV struct libspawn__strv overrides = { 0 };
    AUTO_JSON struct libspawn__json *stock = NULL;
    AUTO_JSON struct libspawn__json *ours = NULL;
    AUTO_FREE char *stock_text = NULL;
    AUTO_FREE char *text = NULL;

    load(path, &overrides, &config);
    text = stock_form(&config);
    libxl.config_init(stock_config);
    if (libxl.config_from_json(ctx, stock_config, text)) {
        fprintf(stderr, "%s: libxl cannot read\n%s", path, text);
        return false;
    }
    stock_text = libxl.config_to_json(ctx, stock_config);
    libxl.config_dispose(stock_config);
    stock = parse(stock_text);
    ours = parse(text);
    if (!same("", stock, ours)) {
        fprintf(stderr, "%s: libxl reads\n%sand we wrote\n%s", path,
                stock_text, text);
        return false;
    }
    return true;
}

TEST_TIMEOUT(cfg_stored_form__is_read_by_the_stock_library, 30)
{
    unsigned int n_wrong = 0;
    void *ctx = NULL;
    glob_t files;
    size_t i;

    if (!find_libxl()) {
        TEST_SKIP("there is no libxenlight.so.4.17");
    }
    ck_assert_int_eq(libxl.ctx_alloc(&ctx, 0, 0, NULL), 0);
    find_files(&files);
    for (i = 0; i < files.gl_pathc; i++) {
        n_wrong += !library_reads(ctx, files.gl_pathv[i]);
    }
    globfree(&files);
    libxl.ctx_free(ctx);
    ck_assert_uint_eq(n_wrong, 0);
}

/* ---- The stored form, in use ------------------------------------------- */

#define UUID "6d1f9c0e-8a3b-4f0e-9a55-0f5d1c2b3a49"

/* What `xl list -l` prints of the domain. */
static struct libspawn__json *
list(void)
{
    AUTO_OUTPUT struct harness_output output =
        harness_run("xl", "list", "-l", "stored");

    ck_assert_msg(!output.status, "xl list: %s", output.err);
    return parse(output.out);
}

TEST_TIMEOUT(cfg_stored_form_in_place_of_stocks__is_listed_the_same, 30)
{
    AUTO_CONFIG struct libspawn_guest_config config = { 0 };
    AUTO_STRV struct libspawn__strv overrides = { 0 };
    AUTO_JSON struct libspawn__json *before = NULL;
    AUTO_JSON struct libspawn__json *after = NULL;
    AUTO_FREE char *text = NULL;
    struct harness_output output;
    glob_t userdata;

    harness_write_file("d.cfg",
                       "name = 'stored'\nuuid = '" UUID "'\ntype = 'pvh'\n"
                       "memory = 64\nvcpus = 1\non_crash = 'preserve'\n"
                       "kernel = '/usr/lib/grub-xen/grub-i386-xen_pvh.bin'\n");
    output = harness_run("xl", "create", "-p", "-e", "d.cfg");
    ck_assert_msg(!output.status, "xl create: %s", output.err);
    harness_output_dispose(&output);
    before = list();
    ck_assert_int_eq(glob("/var/lib/xen/userdata-d.*." UUID ".libxl-json", 0,
                          NULL, &userdata),
                     0);
    load("d.cfg", &overrides, &config);
    text = stock_form(&config);
    assert_ok(libspawn__file_replace(userdata.gl_pathv[0], text,
                                     strlen(text) + 1, 0600, NULL),
              NULL);
    globfree(&userdata);
    after = list();
    output = harness_run("xl", "destroy", "stored");
    harness_output_dispose(&output);
    ck_assert(libspawn__json_n_items(before) == 1 && same("", before, after));
}

static const char *
obstacle(void)
{
    return access("/dev/xen/privcmd", R_OK | W_OK) ? "this is no Xen host"
                                                   : NULL;
}

TEST_MAIN_UNLESS("cfg_stock", obstacle)
