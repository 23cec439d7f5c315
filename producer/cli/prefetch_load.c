/* producer/cli/prefetch_load.c -- `kickoff prefetch load EVENT DIR`: looks at the whole directory
 * first, asks the node what it has, puts what is missing as drafts, and publishes all in one change
 * once all are there: devices see either the old set or the whole new one.
 *
 * A break in the middle costs nothing: drafts stay, and the next run finds them by their hash. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "producer/cli/ask.h"
#include "producer/cli/bundle_files.h"
#include "producer/cli/commands.h"
#include "producer/cli/load_plan.h"
#include "producer/cli/load_put.h"
#include "producer/cli/show.h"
#include "producer/cli/when.h"

static int64_t window_ms, jobs;
static bool dry_run;

struct load {
        const char *event, *directory;
        struct bundle_file *files;
        enum load_state *states;
        size_t n;
        struct load_plan plan;
};

static void print(struct buf *text)
{
        if (!text->failed && text->data != NULL)
                fputs(text->data, stdout);
        buf_fini(text);
}

static enum cli_exit print_json(json_t *json)
{
        char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;

        json_decref(json);
        if (text == NULL) {
                cli_say("out of memory");
                return CLI_REFUSED;
        }
        puts(text);
        free(text);
        return CLI_DONE;
}

/* --- looking -------------------------------------------------------------------------------- */

/* Everything that is wrong is said at once, before anything is sent. */
static bool look_at_directory(struct load *load)
{
        struct buf faults = BUF_INIT;
        enum err err = bundle_files_find(load->directory, &load->files, &load->n, &faults);

        if (err == OK)
                err = bundle_files_hash(load->directory, load->files, load->n, &faults);
        if (err == OK) {
                load->states = calloc(load->n, sizeof(*load->states));
                if (load->states == NULL)
                        buf_str(&faults, "out of memory\n");
        }
        if (load->states == NULL) {
                cli_say("nothing was sent:");
                fputs(faults.failed || faults.data == NULL ? "out of memory\n" : faults.data,
                      stderr);
        }
        buf_fini(&faults);
        return load->states != NULL;
}

static enum cli_exit look_at_node(const struct cli *cli, struct load *load)
{
        enum cli_exit result;
        char path[256], *text;
        json_t *answer;

        snprintf(path, sizeof(path), "/v1/events/%s/bundles", load->event);
        result = ask_bytes(cli, "GET", path, NULL, NULL, 0, &answer, &text);
        if (result != CLI_DONE)
                return result;
        if (load_plan_make(load->files, load->n, answer, load->states, &load->plan) != OK) {
                cli_say("the node's list of bundles makes no sense to this version.");
                result = CLI_REFUSED;
        }
        json_decref(answer);
        free(text);
        return result;
}

static void warn_without_default(const struct load *load)
{
        for (size_t i = 0; i < load->n; i++) {
                if (strcmp(load->files[i].cohort, COHORT_DEFAULT) == 0)
                        return;
        }
        fputs(
            "Note: there is no bundle for the cohort `default`; devices of cohorts not loaded here "
            "find nothing.\n",
            stderr);
}

/* --- doing ---------------------------------------------------------------------------------- */

static enum cli_exit say_nothing_to_do(const struct cli *cli, const struct load *load)
{
        if (cli->json)
                return print_json(load_plan_json(&load->plan, load->event));
        printf(
            "Devices have all of it already: %zu bundle%s, bundle version %lld. Nothing was sent.\n",
            load->n, load->n == 1 ? "" : "s", (long long)load->plan.version);
        return CLI_DONE;
}

static enum cli_exit show_what_it_would_do(const struct cli *cli, const struct load *load)
{
        struct buf out = BUF_INIT;

        if (cli->json) {
                json_t *json = load_plan_json(&load->plan, load->event);

                if (json != NULL)
                        (void)json_object_set_new(json, "dry_run", json_true());
                return print_json(json);
        }
        buf_str(&out, "Nothing was done. In earnest:\n");
        load_plan_show(&load->plan, load->event, &out);
        print(&out);
        return CLI_DONE;
}

static void show_published(const struct cli *cli, const struct load *load, const json_t *answer,
                           uint64_t took_ms)
{
        size_t n = load->plan.send + load->plan.draft;
        struct buf out = BUF_INIT;

        buf_printf(&out, "Published %zu bundle%s, %zu bytes: bundle version %lld.\n", load->n,
                   load->n == 1 ? "" : "s", load->plan.bytes,
                   (long long)json_integer_value(
                       json_object_get(json_object_get(answer, "event"), "bundle")));
        if (load->plan.send < load->n || took_ms >= 1000)
                buf_printf(&out, "  sent     %zu of %zu that changed, in %.1f s\n", load->plan.send,
                           n, (double)took_ms / 1000);
        show_change(cli, answer, &out);
        print(&out);
}

static enum cli_exit publish(const struct cli *cli, const struct load *load, uint64_t took_ms)
{
        struct cli_plan plan = { .method = "POST", .body = json_object() };
        struct buf window = BUF_INIT;
        enum cli_exit result;
        json_t *answer;
        char *text;

        snprintf(plan.path, sizeof(plan.path), "/v1/events/%s/bundles", load->event);
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
        free(text);
        if (cli->json) {
                (void)json_object_set_new(answer, "load", load_plan_json(&load->plan, load->event));
                return print_json(answer);
        }
        show_published(cli, load, answer, took_ms);
        json_decref(answer);
        return CLI_DONE;
}

static enum cli_exit load_all(const struct cli *cli, const struct load *load)
{
        uint64_t began_ms = clock_mono_ms();
        size_t stored = 0;
        enum cli_exit result;

        warn_without_default(load);
        if (load->plan.draft + load->plan.current > 0)
                fprintf(stderr, "%zu of %zu bundles are there already; %zu to send.\n",
                        load->plan.draft + load->plan.current, load->n, load->plan.send);
        if (load->plan.others > 0)
                fprintf(
                    stderr,
                    "Note: %zu draft%s of cohorts that are not in %s will be published along.\n",
                    load->plan.others, load->plan.others == 1 ? "" : "s", load->directory);
        result = load_put(cli, load->event, load->directory, load->files, load->states, load->n,
                          (unsigned)jobs, &stored);
        if (result == CLI_DONE)
                return publish(cli, load, clock_mono_ms() - began_ms);
        fprintf(
            stderr,
            "  %zu of %zu bundles were stored as drafts; devices see none of them. Run it again: "
            "only the rest is sent.\n",
            stored, load->plan.send);
        return result;
}

static enum cli_exit run(const struct cli *cli, struct load *load)
{
        enum cli_exit result;

        if (!look_at_directory(load))
                return CLI_USAGE;
        result = look_at_node(cli, load);
        if (result != CLI_DONE)
                return result;
        if (dry_run)
                return show_what_it_would_do(cli, load);
        return load->plan.publishes ? load_all(cli, load) : say_nothing_to_do(cli, load);
}

static enum cli_exit run_load(const struct cli *cli, char *const *operands, unsigned n)
{
        struct load load = { .event = operands[0], .directory = operands[1] };
        enum cli_exit result;

        (void)n;
        if (!name_is_valid(load.event, strlen(load.event), EVENT_ID_MAX)) {
                cli_say("`%.80s` is not an event id.", load.event);
                return CLI_USAGE;
        }
        result = run(cli, &load);
        free(load.files);
        free(load.states);
        return result;
}

static const struct option load_options[] = {
        { .name = "window",
          .type = OPTION_DURATION,
          .value = &window_ms,
          .max = 24 * 3600 * 1000LL,
          .value_name = "SPAN",
          .help =
              "Devices that hold an older bundle fetch at random moments within this span; default: "
              "what the nodes can serve." },
        { .name = "jobs",
          .type = OPTION_NUMBER,
          .value = &jobs,
          .default_value = "8",
          .min = 1,
          .max = LOAD_JOBS_MAX,
          .value_name = "N",
          .help = "Bundles sent at the same time." },
        { .name = "dry-run",
          .type = OPTION_FLAG,
          .value = &dry_run,
          .help = "Only say what would be sent and published." },
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
            "all others. What the node has already is not sent again, so after a break the same "
            "command goes on where it was.\n\nExample:\n  kickoff prefetch load cup-final ./bundles\n",
        .run = run_load,
};
