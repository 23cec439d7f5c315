/* producer/cli/again.c -- the command line once more, so that it can be pasted into a shell and
 * means the same request as before: quoted, with the idempotency key, and with moments that no
 * longer move. */
#include "producer/cli/again.h"

#include <string.h>

#include "base/clock.h"
#include "producer/cli/when.h"

static void add_quoted(const char *word, struct buf *out)
{
        static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                   "@%+=:,./_-";

        if (word[0] != '\0' && word[strspn(word, safe)] == '\0') {
                buf_str(out, word);
                return;
        }
        buf_char(out, '\'');
        for (; *word != '\0'; word++) {
                if (*word == '\'')
                        buf_str(out, "'\\''");
                else
                        buf_char(out, *word);
        }
        buf_char(out, '\'');
}

/* An option that names a moment relative to now would mean another moment when typed again, and so
 * another request under the same key. Pins it; *ret_used is how many words it was. */
static bool add_pinned(const struct cli *cli, int i, struct buf *out, int *ret_used)
{
        static const struct {
                const char *typed, *pinned;
                bool is_span;
        } rows[] = { { "--in", "--starts-at", true },
                     { "--starts-at", "--starts-at", false },
                     { "--at", "--at", false },
                     { "--until", "--until", false } };

        for (size_t r = 0; r < countof(rows); r++) {
                size_t len = strlen(rows[r].typed);
                const char *word = cli->argv[i], *value = NULL;
                char rfc3339[CLOCK_RFC3339_SIZE];
                int64_t ms;

                if (strncmp(word, rows[r].typed, len) != 0)
                        continue;
                if (word[len] == '=')
                        value = word + len + 1;
                else if (word[len] == '\0' && i + 1 < cli->argc)
                        value = cli->argv[i + 1];
                if (value == NULL || (rows[r].is_span ? clock_parse_duration(value, &ms) != 0
                                                      : !when_parse(value, cli->now_ms, &ms)))
                        continue;
                clock_format_rfc3339(rows[r].is_span ? cli->now_ms + ms : ms, rfc3339);
                buf_printf(out, "%s %s", rows[r].pinned, rfc3339);
                *ret_used = word[len] == '=' ? 1 : 2;
                return true;
        }
        return false;
}

void again_text(const struct cli *cli, struct buf *out)
{
        int used = 1;

        for (int i = 0; i < cli->argc; i += used) {
                if (i > 0)
                        buf_char(out, ' ');
                used = 1;
                if (!add_pinned(cli, i, out, &used))
                        add_quoted(cli->argv[i], out);
        }
        if (!cli->key_given) {
                buf_str(out, " --key ");
                add_quoted(cli->key, out);
        }
}
