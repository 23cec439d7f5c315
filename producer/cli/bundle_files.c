/* producer/cli/bundle_files.c -- see bundle_files.h. */
#include "producer/cli/bundle_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/evp.h>

#define FILES_MAX 20000 /* cohorts of one event, as the node has it */

const char *bundle_files_type(const char *name)
{
        static const struct {
                const char *extension, *type;
        } types[] = {
                { ".json", "application/json" },
                { ".msgpack", "application/msgpack" },
                { ".txt", "text/plain; charset=utf-8" },
                { ".html", "text/html; charset=utf-8" },
                { ".xml", "application/xml" },
                { ".js", "text/javascript; charset=utf-8" },
                { ".css", "text/css; charset=utf-8" },
                { ".png", "image/png" },
                { ".jpg", "image/jpeg" },
                { ".webp", "image/webp" },
                { ".svg", "image/svg+xml" },
                { ".pb", "application/protobuf" },
        };
        const char *extension = strrchr(name, '.');

        for (size_t i = 0; extension != NULL && i < countof(types); i++) {
                if (strcasecmp(extension, types[i].extension) == 0)
                        return types[i].type;
        }
        return "application/octet-stream";
}

void bundle_files_sha256(const void *bytes, size_t len, char hex[65])
{
        unsigned char digest[32];

        check(EVP_Digest(bytes, len, digest, NULL, EVP_sha256(), NULL) == 1);
        for (size_t i = 0; i < sizeof(digest); i++)
                snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static int by_cohort(const void *a, const void *b)
{
        return strcmp(((const struct bundle_file *)a)->cohort,
                      ((const struct bundle_file *)b)->cohort);
}

/* False for what is not a file at all. */
static bool is_regular(const char *directory, const char *name, off_t *ret_size)
{
        char path[4096];
        struct stat about;

        snprintf(path, sizeof(path), "%s/%s", directory, name);
        if (stat(path, &about) != 0 || !S_ISREG(about.st_mode))
                return false;
        *ret_size = about.st_size;
        return true;
}

/* --- faults --------------------------------------------------------------------------------- */

struct faults {
        struct buf *out;
        unsigned n;
};

static void fault(struct faults *faults, const char *fmt, ...) printf_like(2, 3);
static void fault(struct faults *faults, const char *fmt, ...)
{
        char line[512];
        va_list args;

        if (faults->n++ >= BUNDLE_FAULTS_SHOWN)
                return;
        va_start(args, fmt);
        vsnprintf(line, sizeof(line), fmt, args);
        va_end(args);
        buf_printf(faults->out, "%s\n", line);
}

static enum err told(const struct faults *faults)
{
        if (faults->n > BUNDLE_FAULTS_SHOWN)
                buf_printf(faults->out, "... and %u more\n", faults->n - BUNDLE_FAULTS_SHOWN);
        return faults->n > 0 ? ERR_INVALID : OK;
}

/* --- finding -------------------------------------------------------------------------------- */

static void describe(const char *name, off_t size, struct bundle_file *file, struct faults *faults)
{
        const char *dot = strrchr(name, '.');
        size_t len = dot != NULL ? (size_t)(dot - name) : strlen(name);

        *file = (struct bundle_file){ .type = bundle_files_type(name) };
        snprintf(file->name, sizeof(file->name), "%s", name);
        if (size > (off_t)BUNDLE_FILE_MAX)
                fault(faults, "%.100s: has more than %u bytes", name, BUNDLE_FILE_MAX);
        else
                file->size = (size_t)size;
        if (!name_is_valid(name, len, COHORT_MAX)) {
                fault(
                    faults,
                    "%.100s: its name is no cohort: COHORT.ext, with 1 to %d characters of A-Z a-z "
                    "0-9 . _ : ~ -",
                    name, COHORT_MAX);
                return;
        }
        memcpy(file->cohort, name, len);
}

static bool make_room(struct bundle_file **files, size_t n, size_t *room)
{
        struct bundle_file *larger;

        if (n < *room)
                return true;
        larger = realloc(*files, (*room == 0 ? 16 : 2 * *room) * sizeof(**files));
        if (larger == NULL)
                return false;
        *room = *room == 0 ? 16 : 2 * *room;
        *files = larger;
        return true;
}

static enum err read_names(DIR *dir, const char *directory, struct bundle_file **files, size_t *n,
                           struct faults *faults)
{
        struct dirent *entry;
        size_t room = 0;

        while ((entry = readdir(dir)) != NULL) {
                off_t size;

                if (entry->d_name[0] == '.' || !is_regular(directory, entry->d_name, &size))
                        continue;
                if (*n == FILES_MAX) {
                        fault(faults, "%.200s: holds more than %d files", directory, FILES_MAX);
                        return ERR_INVALID;
                }
                if (!make_room(files, *n, &room)) {
                        fault(faults, "out of memory");
                        return ERR_NOMEM;
                }
                describe(entry->d_name, size, &(*files)[(*n)++], faults);
        }
        return OK;
}

static void find_doubles(const struct bundle_file *files, size_t n, struct faults *faults)
{
        for (size_t i = 1; i < n; i++) {
                if (files[i].cohort[0] != '\0' && strcmp(files[i - 1].cohort, files[i].cohort) == 0)
                        fault(faults, "%.100s and %.100s: are both for the cohort %s",
                              files[i - 1].name, files[i].name, files[i].cohort);
        }
}

enum err bundle_files_find(const char *directory, struct bundle_file **ret_files, size_t *ret_n,
                           struct buf *out)
{
        struct faults faults = { out, 0 };
        DIR *dir = opendir(directory);
        struct bundle_file *files = NULL;
        size_t n = 0;
        enum err err;

        if (dir == NULL) {
                fault(&faults, "%.200s: cannot be read: %s", directory, strerror(errno));
                return ERR_IO;
        }
        err = read_names(dir, directory, &files, &n, &faults);
        closedir(dir);
        if (err == OK && n == 0) {
                fault(&faults,
                      "%.200s: holds no bundles: put files COHORT.ext in it, such as default.json",
                      directory);
                err = ERR_NOT_FOUND;
        }
        if (err == OK) {
                qsort(files, n, sizeof(*files), by_cohort);
                find_doubles(files, n, &faults);
                err = told(&faults);
        }
        if (err != OK) {
                free(files);
                return err;
        }
        *ret_files = files;
        *ret_n = n;
        return OK;
}

/* --- bytes ---------------------------------------------------------------------------------- */

enum err bundle_files_hash(const char *directory, struct bundle_file *files, size_t n,
                           struct buf *out)
{
        struct faults faults = { out, 0 };

        for (size_t i = 0; i < n; i++) {
                char *bytes;
                enum err err = bundle_files_read(directory, &files[i], &bytes, &files[i].size);

                if (err == OK) {
                        bundle_files_sha256(bytes, files[i].size, files[i].sha256);
                        free(bytes);
                } else if (err == ERR_TOO_LARGE) {
                        fault(&faults, "%.100s: has more than %u bytes", files[i].name,
                              BUNDLE_FILE_MAX);
                } else {
                        fault(&faults, "%.100s: cannot be read: %s", files[i].name, err_name(err));
                }
        }
        return told(&faults);
}

enum err bundle_files_read(const char *directory, const struct bundle_file *file, char **ret_bytes,
                           size_t *ret_len)
{
        char path[4096];
        FILE *stream;
        char *bytes;
        size_t len;

        snprintf(path, sizeof(path), "%s/%s", directory, file->name);
        stream = fopen(path, "re");
        if (stream == NULL)
                return ERR_IO;
        bytes = malloc(BUNDLE_FILE_MAX + 1);
        if (bytes == NULL) {
                fclose(stream);
                return ERR_NOMEM;
        }
        len = fread(bytes, 1, BUNDLE_FILE_MAX + 1, stream);

        bool broke = ferror(stream) != 0;

        fclose(stream);
        if (broke || len > BUNDLE_FILE_MAX) {
                free(bytes);
                return broke ? ERR_IO : ERR_TOO_LARGE;
        }
        *ret_bytes = bytes;
        *ret_len = len;
        return OK;
}
