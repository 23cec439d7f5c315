/* producer/cli/device_commands.c -- `kickoff device show` and `message`: one device, wherever it
 * is. */
#include <stdio.h>
#include <string.h>

#include "producer/cli/commands.h"
#include "producer/cli/show.h"
#include "proto/message.h"
#include "proto/names.h"

static const char *message_id;

static bool is_device(const char *device)
{
        if (name_is_valid(device, strlen(device), DEVICE_ID_MAX))
                return true;
        cli_say(
            "a device id has 1 to %d letters, digits or . _ : ~ -, as the device gave it when it "
            "connected. Example: kickoff device show tv-1",
            DEVICE_ID_MAX);
        return false;
}

static bool plan_show(const struct cli *cli, char *const *operands, unsigned n,
                      struct cli_plan *plan)
{
        (void)cli, (void)n;
        if (!is_device(operands[0]))
                return false;
        snprintf(plan->path, sizeof(plan->path), "/v1/devices/%s", operands[0]);
        return true;
}

static void line(const json_t *answer, const char *label, const char *name, struct buf *out)
{
        buf_printf(out, "  %-10s", label);
        show_member(answer, name, out);
        buf_char(out, '\n');
}

static void show_device(const struct cli *cli, const json_t *answer, struct buf *out)
{
        show_member(answer, "device", out);
        buf_str(out, ": connected\n");
        line(answer, "node", "node", out);
        line(answer, "session", "session", out);
        buf_str(out, "  since     ");
        show_time(cli, answer, "connected_since", out);
        buf_char(out, '\n');
        if (json_object_get(answer, "cohort") != NULL)
                line(answer, "cohort", "cohort", out);
        line(answer, "transport", "transport", out);
}

static bool plan_message(const struct cli *cli, char *const *operands, unsigned n,
                         struct cli_plan *plan)
{
        (void)cli, (void)n;
        if (!is_device(operands[0]))
                return false;
        if (strlen(operands[1]) > MESSAGE_BODY_MAX) {
                cli_say("a message has at most %d bytes.", MESSAGE_BODY_MAX);
                return false;
        }
        plan->body = json_pack("{s:s}", "body", operands[1]);
        if (plan->body == NULL) {
                cli_say("the text is not UTF-8.");
                return false;
        }
        if (message_id != NULL &&
            json_object_set_new(plan->body, "id", json_string(message_id)) != 0) {
                cli_say("the id is not UTF-8.");
                json_decref(plan->body);
                plan->body = NULL;
                return false;
        }
        plan->method = "POST";
        snprintf(plan->path, sizeof(plan->path), "/v1/devices/%s/messages", operands[0]);
        return true;
}

static void show_sent(const struct cli *cli, const json_t *answer, struct buf *out)
{
        (void)cli;
        buf_str(out, "Written to the socket of ");
        show_member(answer, "device", out);
        buf_str(out, ".\n");
        line(answer, "message", "id", out);
        line(answer, "node", "node", out);
        line(answer, "session", "session", out);
}

static const struct option message_options[] = {
        { .name = "id",
          .type = OPTION_TEXT,
          .value = &message_id,
          .value_name = "ID",
          .help =
              "The message's own id, by which the device recognises a repeat; made up if none is given." },
};

const struct cli_command device_commands[] = {
        { .group = "device",
          .name = "show",
          .operands = "ID",
          .min_operands = 1,
          .max_operands = 1,
          .summary = "Show where a device is connected, and since when.",
          .plan = plan_show,
          .show = show_device },
        { .group = "device",
          .name = "message",
          .operands = "ID TEXT",
          .min_operands = 2,
          .max_operands = 2,
          .summary = "Send one device a message of its own.",
          .examples = "  kickoff device message tv-1 'Please restart the app'\n",
          .options = message_options,
          .n_options = countof(message_options),
          .plan = plan_message,
          .show = show_sent },
};
const size_t device_commands_n = countof(device_commands);
