/* tests/support/redis_files.c -- see the header. */
#include "tests/support/redis_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"

_Noreturn static void give_up(const char *what, const char *about)
{
        fprintf(stderr, "test files of deploy/redis: %s: %s\n", what, about);
        abort();
}

static void run(const char *command)
{
        if (system(command) != 0)
                give_up("failed", command);
}

char *redis_files_read(const char *path)
{
        struct buf text = BUF_INIT;
        char chunk[4096];
        FILE *file = fopen(path, "r");
        size_t n;

        if (!file)
                give_up("cannot read", path);
        while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0)
                buf_add(&text, chunk, n);
        fclose(file);
        buf_str(&text, "");
        return buf_take(&text);
}

void redis_files_write(const char *path, const char *text)
{
        FILE *file = fopen(path, "w");

        if (!file || fputs(text, file) < 0 || fclose(file) != 0)
                give_up("cannot write", path);
}

void redis_files_make(struct redis_files *files, const char *source_dir, const char *options,
                      const char *addresses)
{
        const char *tmp = getenv("TMPDIR");
        char command[1024];

        if (snprintf(files->dir, sizeof(files->dir), "%s/kickoff-files-XXXXXX",
                     tmp && tmp[0] ? tmp : "/tmp") >= (int)sizeof(files->dir) ||
            !mkdtemp(files->dir))
                give_up("cannot make a directory", files->dir);
        if (snprintf(command, sizeof(command), "%s/deploy/redis/prepare %s %s %s >/dev/null",
                     source_dir, options, files->dir, addresses) >= (int)sizeof(command))
                give_up("too long", addresses);
        run(command);
}

const char *redis_files_path(const struct redis_files *files, const char *address, const char *name,
                             char path[160])
{
        snprintf(path, 160, "%s/%s/%s", files->dir, address, name);
        return path;
}

void redis_files_open(const struct redis_files *files, const char *address)
{
        char path[160];
        const char *closed = "user default off\n";
        char *text = redis_files_read(redis_files_path(files, address, "users.acl", path));
        char *line = strstr(text, closed);
        struct buf opened = BUF_INIT;

        if (!line)
                give_up("no line `user default off`", path);
        buf_add(&opened, text, (size_t)(line - text));
        buf_str(&opened, "user default on nopass ~* &* +@all\n");
        buf_str(&opened, line + strlen(closed));
        redis_files_write(path, opened.data);
        buf_fini(&opened);
        free(text);
}

void redis_files_url(const struct redis_files *files, const char *user, char text[512])
{
        char path[160];
        char *env, *url;

        snprintf(path, sizeof(path), "%s/%s.env", files->dir, user);
        env = redis_files_read(path);
        url = strstr(env, "KICKOFF_REDIS=");
        if (!url)
                give_up("no KICKOFF_REDIS", path);
        url += strlen("KICKOFF_REDIS=");
        snprintf(text, 512, "%.*s", (int)strcspn(url, "\n"), url);
        free(env);
}

void redis_files_password(const struct redis_files *files, const char *user, char text[128])
{
        char url[512];
        const char *from, *to;

        redis_files_url(files, user, url);
        from = strchr(strstr(url, "//"), ':');
        to = strchr(url, '@');
        if (!from || !to || to - from > 127)
                give_up("no password", url);
        snprintf(text, 128, "%.*s", (int)(to - from - 1), from + 1);
}

void redis_files_end(struct redis_files *files)
{
        char command[128];

        snprintf(command, sizeof(command), "rm -rf '%s'", files->dir);
        run(command);
}
