/* A manual page says what the option table says, and roff reads it as text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/option_man.h"

static const char *listen_at;
static int64_t ping_ms;
static bool quiet;

static const struct option table[] = {
        { "listen", OPTION_TEXT, &listen_at, "0.0.0.0:8080", 0, 0, "HOST:PORT",
          "Where. A back\\slash is one.", NULL },
        { "ping-every", OPTION_DURATION, &ping_ms, "50s", 1000, 3600000, NULL, ".How often.",
          NULL },
        { "quiet", OPTION_FLAG, &quiet, NULL, 0, 0, NULL, "'Quiet' it is.", NULL },
};

static const struct option_program program = {
        .name = "kickoffd",
        .summary = "A node.",
        .usage = "kickoffd [OPTION]...",
        .epilogue = "Examples:\n  kickoffd --quiet\n.not a macro\n",
        .options = table,
        .n = countof(table),
        .section = 8,
};

static char *page_of(const struct option_program *of)
{
        struct buf page = BUF_INIT;

        option_man(of, &page);
        cr_assert(not(page.failed));
        return buf_take(&page);
}

Test(option_man, says_of_each_option_what_the_table_says)
{
        char *page = page_of(&program);

        cr_assert(strstr(page, ".TH KICKOFFD 8 ") == page);
        cr_assert(strstr(page, "\\fB\\-\\-listen\\fR \\fIHOST:PORT\\fR\n") != NULL);
        cr_assert(
            strstr(page, "Default 50s, from 1s to 1h; KICKOFF_PING_EVERY in the environment.") !=
            NULL);
        cr_assert(strstr(page, "KICKOFF_QUIET=yes in the environment.") != NULL);
        free(page);
}

Test(option_man, has_no_line_that_roff_would_take_for_a_request_of_its_own)
{
        char *page = page_of(&program);

        cr_assert(strstr(page, "\n\\&.How often.") != NULL);
        cr_assert(strstr(page, "\n\\&'Quiet' it is.") != NULL);
        cr_assert(strstr(page, "\n\\&.not a macro") != NULL);
        cr_assert(strstr(page, "back\\eslash") != NULL);
        free(page);
}

Test(option_man, names_a_subcommand_in_one_word_in_section_1_as_all_that_name_none)
{
        struct option_program sub = program;
        char *page;

        sub.name = "kickoff event create";
        sub.section = 0;
        page = page_of(&sub);
        cr_assert(strstr(page, ".TH KICKOFF\\-EVENT\\-CREATE 1 ") == page);
        cr_assert(strstr(page, "\nkickoff\\-event\\-create \\- A node.\n") != NULL);
        free(page);
}

Test(option_man, passes_the_formatter_without_a_warning)
{
        char path[] = "/tmp/kickoff-man-XXXXXX", command[128], said[256] = "";
        char *page = page_of(&program);
        int fd = mkstemp(path);
        FILE *pipe;

        if (system("command -v groff >/dev/null") != 0)
                cr_skip_test("no groff here");
        cr_assert(eq(int, (int)write(fd, page, strlen(page)), (int)strlen(page)));
        close(fd);
        snprintf(command, sizeof(command), "groff -man -Tascii -ww -z %s 2>&1", path);
        pipe = popen(command, "r");
        cr_assert(pipe != NULL);
        (void)!fread(said, 1, sizeof(said) - 1, pipe);
        cr_assert(eq(int, pclose(pipe), 0));
        cr_assert(eq(str, said, ""));
        unlink(path);
        free(page);
}
