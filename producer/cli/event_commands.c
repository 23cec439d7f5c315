/* producer/cli/event_commands.c -- `kickoff event ...`: each command turns its words into one
 * request of the admin API (openapi.yaml). What is legal when is the node's business, not ours. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "producer/cli/commands.h"
#include "producer/cli/show.h"
#include "producer/cli/when.h"
#include "proto/names.h"
#include "proto/target.h"

#define SPAN_MAX_MS (366 * 24 * 3600 * 1000LL) /* what the API takes for any span */

static struct {
        const char *title, *starts_at, *stage;
        int64_t in_ms;
        bool auto_start;
        const char *stages[STAGES_MAX]; /* --stage may be given several times */
        size_t n_stages;
} create;
static struct {
        const char *at;
        int64_t lead_ms;
} act; /* start, stage */
static struct {
        const char *until, *reason;
        int64_t by_ms;
} delay;
static struct {
        const char *starts_at;
        int64_t in_ms;
} reopen;
static int64_t window_ms;

/* Whom a change is for; each may be given several times. */
static struct {
        const char *given[TRAITS]; /* NULL: not on this command line */
        const char *names[TRAITS][TARGET_COHORTS_MAX];
        size_t n[TRAITS];
} target;
static bool dry_run;

/* --- pieces of a request -------------------------------------------------------------------- */

static bool is_id(const char *id)
{
        if (name_is_valid(id, strlen(id), EVENT_ID_MAX))
                return true;
        cli_say("`%.80s` is not an event id: 1 to %d characters of A-Z a-z 0-9 . _ : ~ -", id,
                EVENT_ID_MAX);
        return false;
}

static bool put_time(const char *text, int64_t now_ms, json_t *body, const char *name)
{
        char rfc3339[CLOCK_RFC3339_SIZE];
        int64_t ms;

        if (!when_parse(text, now_ms, &ms)) {
                cli_say("`%.60s` is not a time.", text);
                return false;
        }
        clock_format_rfc3339(ms, rfc3339);
        return json_object_set_new(body, name, json_string(rfc3339)) == 0;
}

static bool put_span(int64_t ms, json_t *body, const char *name)
{
        struct buf text = BUF_INIT;
        bool fine;

        when_duration(ms, &text);
        fine = !text.failed && json_object_set_new(body, name, json_string(text.data)) == 0;
        buf_fini(&text);
        return fine;
}

static bool put_span_from_now(const struct cli *cli, int64_t ms, json_t *body, const char *name)
{
        char rfc3339[CLOCK_RFC3339_SIZE];

        clock_format_rfc3339(cli->now_ms + ms, rfc3339);
        return json_object_set_new(body, name, json_string(rfc3339)) == 0;
}

/* Called for each --cohort and so on; the first of a command line finds `given` still unset. */
static bool collect_trait(enum trait trait, const char *text, const char **ret_why)
{
        size_t max = trait == TRAIT_COHORT ? TARGET_COHORTS_MAX : TARGET_VALUES_MAX;

        if (target.given[trait] == NULL)
                target.n[trait] = 0;
        *ret_why = "not a name: 1 to 64 characters of A-Z a-z 0-9 . _ : ~ -, one per option";
        if (!name_is_valid(text, strlen(text), TRAIT_MAX))
                return false;
        *ret_why = "one too many: name what these devices have in common, or tell all";
        if (target.n[trait] == max)
                return false;
        target.names[trait][target.n[trait]++] = text;
        return true;
}

static bool collect_cohort(const char *text, const char **ret_why)
{
        return collect_trait(TRAIT_COHORT, text, ret_why);
}

static bool collect_platform(const char *text, const char **ret_why)
{
        return collect_trait(TRAIT_PLATFORM, text, ret_why);
}

static bool collect_region(const char *text, const char **ret_why)
{
        return collect_trait(TRAIT_REGION, text, ret_why);
}

static bool collect_app(const char *text, const char **ret_why)
{
        return collect_trait(TRAIT_APP, text, ret_why);
}

static bool put_names(enum trait trait, json_t *object, const char *name)
{
        json_t *names = json_array();

        for (size_t i = 0; i < target.n[trait]; i++)
                json_array_append_new(names, json_string(target.names[trait][i]));
        return json_object_set_new(object, name, names) == 0;
}

static bool put_target(json_t *body)
{
        json_t *attributes = json_object();

        for (unsigned trait = TRAIT_PLATFORM; trait < TRAITS; trait++)
                if (target.given[trait] != NULL &&
                    !put_names((enum trait)trait, attributes, trait_name[trait])) {
                        json_decref(attributes);
                        return false;
                }
        if (json_object_size(attributes) == 0)
                json_decref(attributes);
        else if (json_object_set_new(body, "attributes", attributes) != 0)
                return false;
        return target.given[TRAIT_COHORT] == NULL || put_names(TRAIT_COHORT, body, "cohorts");
}

/* A POST with a body to be filled. */
static bool begin_post(struct cli_plan *plan)
{
        size_t len = strlen(plan->path);

        plan->method = "POST";
        snprintf(plan->path + len, sizeof(plan->path) - len, "%s", dry_run ? "?dry_run=1" : "");
        plan->body = json_object();
        return plan->body != NULL && put_target(plan->body);
}

/* POST /v1/events/ID/`verb`. */
static bool begin_change(const char *id, const char *verb, struct cli_plan *plan)
{
        if (!is_id(id))
                return false;
        snprintf(plan->path, sizeof(plan->path), "/v1/events/%s/%s", id, verb);
        return begin_post(plan);
}

/* At most one of --at and --lead; neither means now. */
static bool put_moment(const struct cli *cli, json_t *body)
{
        if (act.at != NULL && act.lead_ms != 0) {
                cli_say("give --at or --lead, not both.");
                return false;
        }
        if (act.lead_ms != 0)
                return put_span(act.lead_ms, body, "lead");
        return act.at == NULL || put_time(act.at, cli->now_ms, body, "at");
}

/* --- the commands --------------------------------------------------------------------------- */

/* Called for each --stage; the first of a command line finds `stage` still unset. */
static bool collect_stage(const char *text, const char **ret_why)
{
        if (create.stage == NULL)
                create.n_stages = 0;
        *ret_why = "not a stage: up to 32 characters of A-Z a-z 0-9 . _ : ~ -, one per --stage";
        if (!name_is_valid(text, strlen(text), STAGE_MAX))
                return false;
        *ret_why = "one stage too many";
        if (create.n_stages == STAGES_MAX)
                return false;
        create.stages[create.n_stages++] = text;
        return true;
}

static bool plan_create(const struct cli *cli, char *const *operands, unsigned n,
                        struct cli_plan *plan)
{
        json_t *stages;

        (void)n;
        if (!is_id(operands[0]))
                return false;
        if (create.title == NULL || (create.starts_at == NULL) == (create.in_ms == 0)) {
                cli_say(create.title == NULL ? "an event needs a --title."
                                             : "say when it starts: --starts-at TIME or --in 10m.");
                return false;
        }
        snprintf(plan->path, sizeof(plan->path), "/v1/events");
        if (!begin_post(plan) ||
            json_object_set_new(plan->body, "id", json_string(operands[0])) != 0 ||
            json_object_set_new(plan->body, "title", json_string(create.title)) != 0) {
                cli_say("the title is not UTF-8 text.");
                return false;
        }
        if (create.in_ms != 0) {
                if (!put_span_from_now(cli, create.in_ms, plan->body, "starts_at"))
                        return false;
        } else if (!put_time(create.starts_at, cli->now_ms, plan->body, "starts_at")) {
                return false;
        }
        if (create.auto_start)
                json_object_set_new(plan->body, "auto_start", json_true());
        if (create.stage == NULL)
                return true;
        stages = json_array();
        for (size_t i = 0; i < create.n_stages; i++)
                json_array_append_new(stages, json_string(create.stages[i]));
        return json_object_set_new(plan->body, "stages", stages) == 0;
}

static bool plan_show(const struct cli *cli, char *const *operands, unsigned n,
                      struct cli_plan *plan)
{
        (void)cli;
        plan->method = "GET";
        if (n == 1 && !is_id(operands[0]))
                return false;
        snprintf(plan->path, sizeof(plan->path), "/v1/events%s%s", n == 1 ? "/" : "",
                 n == 1 ? operands[0] : "");
        return true;
}

static bool plan_start(const struct cli *cli, char *const *operands, unsigned n,
                       struct cli_plan *plan)
{
        (void)n;
        return begin_change(operands[0], "start", plan) && put_moment(cli, plan->body);
}

static bool plan_delay(const struct cli *cli, char *const *operands, unsigned n,
                       struct cli_plan *plan)
{
        (void)n;
        if ((delay.until == NULL) == (delay.by_ms == 0)) {
                cli_say("say by how much or until when: --by 15m or --until TIME.");
                return false;
        }
        if (!begin_change(operands[0], "delay", plan))
                return false;
        if (delay.reason != NULL &&
            json_object_set_new(plan->body, "reason", json_string(delay.reason)) != 0) {
                cli_say("the reason is not UTF-8 text.");
                return false;
        }
        if (delay.by_ms != 0)
                return put_span(delay.by_ms, plan->body, "by");
        return put_time(delay.until, cli->now_ms, plan->body, "starts_at");
}

static bool plan_end(const struct cli *cli, char *const *operands, unsigned n,
                     struct cli_plan *plan)
{
        (void)cli, (void)n;
        return begin_change(operands[0], "end", plan);
}

static bool plan_cancel(const struct cli *cli, char *const *operands, unsigned n,
                        struct cli_plan *plan)
{
        (void)cli, (void)n;
        return begin_change(operands[0], "cancel", plan);
}

/* Neither: it goes on at once. */
static bool plan_reopen(const struct cli *cli, char *const *operands, unsigned n,
                        struct cli_plan *plan)
{
        (void)n;
        if (reopen.starts_at != NULL && reopen.in_ms != 0) {
                cli_say("give --starts-at or --in, not both.");
                return false;
        }
        if (!begin_change(operands[0], "reopen", plan))
                return false;
        if (reopen.in_ms != 0)
                return put_span_from_now(cli, reopen.in_ms, plan->body, "starts_at");
        return reopen.starts_at == NULL ||
               put_time(reopen.starts_at, cli->now_ms, plan->body, "starts_at");
}

static bool plan_stage(const struct cli *cli, char *const *operands, unsigned n,
                       struct cli_plan *plan)
{
        (void)n;
        if (!name_is_valid(operands[1], strlen(operands[1]), STAGE_MAX)) {
                cli_say("`%.60s` is not a stage: 1 to %d characters of A-Z a-z 0-9 . _ : ~ -",
                        operands[1], STAGE_MAX);
                return false;
        }
        return begin_change(operands[0], "stage", plan) &&
               json_object_set_new(plan->body, "stage", json_string(operands[1])) == 0 &&
               put_moment(cli, plan->body);
}

static bool plan_refresh(const struct cli *cli, char *const *operands, unsigned n,
                         struct cli_plan *plan)
{
        (void)cli, (void)n;
        return begin_change(operands[0], "refresh", plan) &&
               (window_ms == 0 || put_span(window_ms, plan->body, "window"));
}

/* One event, or all. */
static void show_one_or_all(const struct cli *cli, const json_t *answer, struct buf *out)
{
        const json_t *events = show_array(answer, "events");

        if (events != NULL)
                show_events(cli, events, out);
        else
                show_event(cli, answer, out);
}

/* --- the table ------------------------------------------------------------------------------ */

#define TIME_ROW(row_name, to, text)                                                        \
        {                                                                                   \
                .name = row_name, .type = OPTION_TEXT, .value = (to), .value_name = "TIME", \
                .accepts = when_accepts, .help = text                                       \
        }
#define SPAN_ROW(row_name, to, text)                                                          \
        {                                                                                     \
                .name = row_name, .type = OPTION_DURATION, .value = (to), .max = SPAN_MAX_MS, \
                .value_name = "SPAN", .help = text                                            \
        }

static const struct option create_options[] = {
        { .name = "title",
          .type = OPTION_TEXT,
          .value = &create.title,
          .value_name = "TEXT",
          .help = "What people call the event." },
        TIME_ROW("starts-at", &create.starts_at,
                 "Planned start: 20:00, or \"2026-11-23 20:00\", "
                 "or 2026-11-23T20:00:00Z."),
        SPAN_ROW("in", &create.in_ms, "Planned start, counted from now."),
        { .name = "stage",
          .type = OPTION_TEXT,
          .value = &create.stage,
          .value_name = "STAGE",
          .accepts = collect_stage,
          .help = "A stage the event may have; give it once for each. With none, any stage goes." },
        { .name = "auto-start",
          .type = OPTION_FLAG,
          .value = &create.auto_start,
          .help = "Start it at the planned time without a further command." },
};
static const struct option start_options[] = {
        SPAN_ROW("lead", &act.lead_ms, "Devices act this much later, all at the same moment."),
        TIME_ROW("at", &act.at, "Devices act at this time."),
};
static const struct option delay_options[] = {
        SPAN_ROW("by", &delay.by_ms, "Later by this much than planned so far."),
        TIME_ROW("until", &delay.until, "The new planned start."),
        { .name = "reason",
          .type = OPTION_TEXT,
          .value = &delay.reason,
          .value_name = "TEXT",
          .help = "Why, for the node's log." },
};
static const struct option reopen_options[] = {
        TIME_ROW("starts-at", &reopen.starts_at,
                 "A new planned start. Without it, and without --in, the event is live at once."),
        SPAN_ROW("in", &reopen.in_ms, "A new planned start, counted from now."),
};
static const struct option refresh_options[] = {
        SPAN_ROW("window", &window_ms, "Devices fetch at random moments within this span."),
};

#define TRAIT_ROW(row_name, trait, collect, text)                                     \
        {                                                                             \
                .name = row_name, .type = OPTION_TEXT, .value = &target.given[trait], \
                .value_name = "NAME", .accepts = collect, .help = text                \
        }

const struct option change_options[] = {
        TRAIT_ROW("cohort", TRAIT_COHORT, collect_cohort,
                  "Tell only devices of this cohort; give it once for each."),
        TRAIT_ROW("platform", TRAIT_PLATFORM, collect_platform,
                  "Tell only devices of this platform; once for each."),
        TRAIT_ROW("region", TRAIT_REGION, collect_region,
                  "Tell only devices in this region; once for each."),
        TRAIT_ROW("app", TRAIT_APP, collect_app,
                  "Tell only devices with this app version; once for each."),
        { .name = "dry-run",
          .type = OPTION_FLAG,
          .value = &dry_run,
          .help = "Only say what it would do, how many devices it would reach, and how soon." },
};
const size_t change_options_n = countof(change_options);

#define COMMAND(row_name, words, min, max, what, rows, say, planned, shown)                 \
        {                                                                                   \
                .group = "event", .name = row_name, .operands = words, .min_operands = min, \
                .max_operands = max, .summary = what, .options = rows,                      \
                .n_options = sizeof(rows) / sizeof(struct option), .examples = say,         \
                .plan = planned, .show = shown, .changes = true                             \
        }

static const struct option no_options[1] = { { .name = NULL } };

#define PLAIN(row_name, words, min, max, what, is_change, planned, shown)                          \
        {                                                                                          \
                .group = "event", .name = row_name, .operands = words, .min_operands = min,        \
                .max_operands = max, .summary = what, .options = no_options, .changes = is_change, \
                .plan = planned, .show = shown                                                     \
        }

const struct cli_command event_commands[] = {
        COMMAND("create", "ID", 1, 1, "Announce an event.", create_options,
                "Example:\n  kickoff event create cup-final --title 'Cup final' --in 10m "
                "--stage halftime\n",
                plan_create, show_change),
        PLAIN("show", "[ID]", 0, 1, "Show one event, or all.", false, plan_show, show_one_or_all),
        COMMAND("start", "ID", 1, 1, "Start it: devices switch to what they hold.", start_options,
                "Example:\n  kickoff event start cup-final --lead 2s\n", plan_start, show_change),
        COMMAND("delay", "ID", 1, 1, "Put the planned start off.", delay_options,
                "Example:\n  kickoff event delay cup-final --by 15m --reason 'floodlights'\n",
                plan_delay, show_change),
        PLAIN("end", "ID", 1, 1, "End it.", true, plan_end, show_change),
        PLAIN("cancel", "ID", 1, 1, "Call it off.", true, plan_cancel, show_change),
        COMMAND("reopen", "ID", 1, 1, "Take back that it ended or was called off.", reopen_options,
                "Example:\n  kickoff event reopen cup-final --in 1h\n", plan_reopen, show_change),
        COMMAND("stage", "ID STAGE", 2, 2, "Move it to a stage of its own, such as halftime.",
                start_options, "Example:\n  kickoff event stage cup-final halftime\n", plan_stage,
                show_change),
        COMMAND("refresh", "ID", 1, 1, "Tell devices to compare their bundle with the current one.",
                refresh_options, "Example:\n  kickoff event refresh cup-final --window 10m\n",
                plan_refresh, show_change),
};
const size_t event_commands_n = countof(event_commands);
