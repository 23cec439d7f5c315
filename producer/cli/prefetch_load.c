/* producer/cli/prefetch_load.c -- `kickoff prefetch load EVENT DIR`: every bundle is put as a draft
 * and its hash compared with what the node says it stored; only when all are there is the
 * publication asked for, so that devices see either the old set or the whole new one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "producer/cli/ask.h"
#include "producer/cli/bundle_files.h"
#include "producer/cli/commands.h"
#include "producer/cli/show.h"
#include "producer/cli/when.h"

static int64_t window_ms;

/* Progress goes to stderr: stdout is for the result. */
static void say_progress(size_t done, size_t n, const struct bundle_file *file, size_t len)
{
        fprintf(stderr, "[%zu/%zu] %s  %zu bytes  %s\n", done, n, file->cohort, len, file->type);
}

static enum cli_exit put_bytes(const struct cli *cli, const char *event,
                               const struct bundle_file *file, const char *bytes, size_t len)
{
        char path[256], hex[65];
        const char *stored;
        json_t *answer;
        char *text;
        enum cli_exit result;

        snprintf(path, sizeof(path), "/v1/events/%s/bundles/%s", event, file->cohort);
        result = ask_bytes(cli, "PUT", path, file->type, bytes, len, &answer, &text);
        if (result != CLI_DONE)
                return result;
        bundle_files_sha256(bytes, len, hex);
        stored = json_string_value(json_object_get(answer, "sha256"));
        if (stored == NULL || strcmp(stored, hex) != 0) {
                cli_say("%s: the node stored other bytes than we sent. Nothing was published.",
                        file->name);
                result = CLI_REFUSED;
        }
        json_decref(answer);
        free(text);
        return result;
}

static enum cli_exit put_file(const struct cli *cli, const char *event, const char *directory,
                              const struct bundle_file *file, size_t *ret_len)
{
        enum cli_exit result;
        char *bytes;

        switch (bundle_files_read(directory, file, &bytes, ret_len)) {
        case OK:
                break;
        case ERR_TOO_LARGE:
                cli_say("%s has more than %u bytes, the limit for a bundle.", file->name,
                        BUNDLE_FILE_MAX);
                return CLI_USAGE;
        default:
                cli_say("cannot read %s/%s.", directory, file->name);
                return CLI_USAGE;
        }
        result = put_bytes(cli, event, file, bytes, *ret_len);
        free(bytes);
        return result;
}

static enum cli_exit publish(const struct cli *cli, const char *event, size_t n, size_t bytes)
{
        struct cli_plan plan = { .method = "POST", .body = json_object() };
        struct buf window = BUF_INIT, out = BUF_INIT;
        enum cli_exit result;
        json_t *answer;
        char *text;

        snprintf(plan.path, sizeof(plan.path), "/v1/events/%s/bundles", event);
        if (window_ms != 0) {
                when_duration(window_ms, &window);
                json_object_set_new(plan.body, "window", json_string(window.data));
        }
        result = ask_plan(cli, &plan, &answer, &text);
        buf_fini(&window);
        json_decref(plan.body);
        if (result != CLI_DONE) {
                if (result != CLI_UNKNOWN)
                        cli_say("the bundles are stored as drafts, but not published.");
                return result;
        }
        if (cli->json) {
                puts(text);
        } else {
                buf_printf(&out, "Published %zu bundle%s, %zu bytes: bundle version %lld.\n", n,
                           n == 1 ? "" : "s", bytes,
                           (long long)json_integer_value(
                               json_object_get(json_object_get(answer, "event"), "bundle")));
                show_change(cli, answer, &out);
                if (!out.failed)
                        fputs(out.data, stdout);
        }
        buf_fini(&out);
        json_decref(answer);
        free(text);
        return CLI_DONE;
}

static enum cli_exit load(const struct cli *cli, const char *event, const char *directory,
                          const struct bundle_file *files, size_t n)
{
        bool has_default = false;
        size_t bytes = 0;

        for (size_t i = 0; i < n; i++) {
                size_t len = 0;
                enum cli_exit result = put_file(cli, event, directory, &files[i], &len);

                if (result != CLI_DONE) {
                        fprintf(stderr,
                                "  %zu of %zu bundles are stored as drafts; devices see none "
                                "of them.\n",
                                i, n);
                        return result;
                }
                say_progress(i + 1, n, &files[i], len);
                bytes += len;
                has_default |= strcmp(files[i].cohort, COHORT_DEFAULT) == 0;
        }
        if (!has_default)
                fputs("Note: there is no bundle for the cohort `default`; devices of cohorts not "
                      "loaded here find nothing.\n",
                      stderr);
        return publish(cli, event, n, bytes);
}

static enum cli_exit run_load(const struct cli *cli, char *const *operands, unsigned n)
{
        const char *event = operands[0], *directory = operands[1];
        struct bundle_file *files;
        size_t n_files;
        char why[512];
        enum cli_exit result;

        (void)n;
        if (!name_is_valid(event, strlen(event), EVENT_ID_MAX)) {
                cli_say("`%.80s` is not an event id.", event);
                return CLI_USAGE;
        }
        if (bundle_files_find(directory, &files, &n_files, why, sizeof(why)) != OK) {
                cli_say("%s.", why);
                return CLI_USAGE;
        }
        result = load(cli, event, directory, files, n_files);
        free(files);
        return result;
}

static const struct option load_options[] = {
        { .name = "window",
          .type = OPTION_DURATION,
          .value = &window_ms,
          .max = 24 * 3600 * 1000LL,
          .value_name = "SPAN",
          .help = "Devices that hold an older bundle fetch at random moments within this span." },
};

const struct cli_command prefetch_load_command = {
        .group = "prefetch",
        .name = "load",
        .operands = "EVENT DIR",
        .min_operands = 2,
        .max_operands = 2,
        .summary = "Store the bundles in a directory and publish them all at once.",
        .options = load_options,
        .n_options = countof(load_options),
        .examples =
            "Each file COHORT.ext is what devices of that cohort prefetch; default.ext is for "
            "all others.\n\nExample:\n  kickoff prefetch load cup-final ./bundles\n",
        .run = run_load,
};
