/* loadtest/machine.c -- see machine.h. */
#include "loadtest/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* The value after `key` and a separator, in a file of such lines. */
static void find_line(const char *path, const char *key, char *out, size_t size)
{
        FILE *file = fopen(path, "re");
        char line[512];

        snprintf(out, size, "unknown");
        if (file == NULL)
                return;
        while (fgets(line, sizeof(line), file) != NULL) {
                char *value = line + strlen(key);

                if (strncmp(line, key, strlen(key)) != 0)
                        continue;
                value += strspn(value, " \t:=\"");
                value[strcspn(value, "\"\n")] = '\0';
                snprintf(out, size, "%.*s", (int)(size - 1), value);
                break;
        }
        fclose(file);
}

/* The first line a command says; "" if none. The directory of this program is $HERD_DIR in it. */
static void ask_command(const char *command, char *out, size_t size)
{
        FILE *pipe = popen(command, "re");

        out[0] = '\0';
        if (pipe == NULL)
                return;
        if (fgets(out, (int)size, pipe) == NULL)
                out[0] = '\0';
        out[strcspn(out, "\n")] = '\0';
        pclose(pipe);
}

static void find_commit(char *out, size_t size)
{
        char own[512], hash[24], changed[8];
        ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
        char *slash;

        snprintf(out, size, "unknown");
        if (len <= 0)
                return;
        own[len] = '\0';
        slash = strrchr(own, '/');
        if (slash == NULL)
                return;
        *slash = '\0';
        setenv("HERD_DIR", own, 1);
        ask_command("git -C \"$HERD_DIR\" rev-parse --short=12 HEAD 2>/dev/null", hash,
                    sizeof(hash));
        ask_command("git -C \"$HERD_DIR\" status --porcelain --untracked-files=no 2>/dev/null",
                    changed, sizeof(changed));
        if (hash[0] != '\0')
                snprintf(out, size, "%s%s", hash, changed[0] != '\0' ? "+changes" : "");
}

void machine_describe(struct machine *ret_machine)
{
        struct utsname names;
        time_t now = time(NULL);
        struct tm utc;

        find_line("/proc/cpuinfo", "model name", ret_machine->cpu, sizeof(ret_machine->cpu));
        find_line("/etc/os-release", "PRETTY_NAME", ret_machine->system,
                  sizeof(ret_machine->system));
        snprintf(ret_machine->kernel, sizeof(ret_machine->kernel), "%s",
                 uname(&names) == 0 ? names.release : "unknown");
        gmtime_r(&now, &utc);
        strftime(ret_machine->date, sizeof(ret_machine->date), "%Y-%m-%d %H:%M UTC", &utc);
        ret_machine->cores = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
        ret_machine->memory_gib =
            (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1024.0 * 1048576);
        find_commit(ret_machine->commit, sizeof(ret_machine->commit));
}
