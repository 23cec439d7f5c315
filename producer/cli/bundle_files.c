/* producer/cli/bundle_files.c -- see bundle_files.h. */
#include "producer/cli/bundle_files.h"

#include <dirent.h>
#include <errno.h>
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

static enum err describe(const char *name, struct bundle_file *ret_file, char *why, size_t why_size)
{
        const char *dot = strrchr(name, '.');
        size_t len = dot != NULL ? (size_t)(dot - name) : strlen(name);

        if (!name_is_valid(name, len, COHORT_MAX)) {
                snprintf(why, why_size,
                         "the name of %.100s is no cohort: COHORT.ext, with 1 to %d characters of "
                         "A-Z a-z 0-9 . _ : ~ -",
                         name, COHORT_MAX);
                return ERR_INVALID;
        }
        memcpy(ret_file->cohort, name, len);
        ret_file->cohort[len] = '\0';
        snprintf(ret_file->name, sizeof(ret_file->name), "%s", name);
        ret_file->type = bundle_files_type(name);
        return OK;
}

static enum err read_names(DIR *dir, const char *directory, struct bundle_file **files, size_t *n,
                           char *why, size_t why_size)
{
        struct dirent *entry;
        size_t room = 0;

        while ((entry = readdir(dir)) != NULL) {
                enum err err;
                off_t size;

                if (entry->d_name[0] == '.' || !is_regular(directory, entry->d_name, &size))
                        continue;
                if (size > (off_t)BUNDLE_FILE_MAX) {
                        snprintf(why, why_size, "%.100s has more than %u bytes", entry->d_name,
                                 BUNDLE_FILE_MAX);
                        return ERR_TOO_LARGE;
                }
                if (*n == FILES_MAX) {
                        snprintf(why, why_size, "%s holds more than %d files", directory,
                                 FILES_MAX);
                        return ERR_INVALID;
                }
                if (*n == room) {
                        struct bundle_file *larger;

                        room = room == 0 ? 16 : 2 * room;
                        larger = realloc(*files, room * sizeof(**files));
                        if (larger == NULL) {
                                snprintf(why, why_size, "out of memory");
                                return ERR_NOMEM;
                        }
                        *files = larger;
                }
                err = describe(entry->d_name, &(*files)[*n], why, why_size);
                if (err != OK)
                        return err;
                ++*n;
        }
        return OK;
}

enum err bundle_files_find(const char *directory, struct bundle_file **ret_files, size_t *ret_n,
                           char *why, size_t why_size)
{
        DIR *dir = opendir(directory);
        struct bundle_file *files = NULL;
        size_t n = 0;
        enum err err;

        if (dir == NULL) {
                snprintf(why, why_size, "cannot read %.200s: %s", directory, strerror(errno));
                return ERR_IO;
        }
        err = read_names(dir, directory, &files, &n, why, why_size);
        closedir(dir);
        if (err == OK && n == 0) {
                snprintf(
                    why, why_size,
                    "%.200s holds no bundles: put files COHORT.ext in it, such as default.json",
                    directory);
                err = ERR_NOT_FOUND;
        }
        if (err == OK)
                qsort(files, n, sizeof(*files), by_cohort);
        for (size_t i = 1; err == OK && i < n; i++) {
                if (strcmp(files[i - 1].cohort, files[i].cohort) == 0) {
                        snprintf(why, why_size, "%.100s and %.100s are both for the cohort %s",
                                 files[i - 1].name, files[i].name, files[i].cohort);
                        err = ERR_INVALID;
                }
        }
        if (err != OK) {
                free(files);
                return err;
        }
        *ret_files = files;
        *ret_n = n;
        return OK;
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
