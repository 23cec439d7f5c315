/* device/c/device_cache.c -- see device_cache.h. */
#include "device/c/device_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "proto/token.h"

#define BODY_MAX  (1024u * 1024u) /* of a bundle */
#define HEAD_MAX  512
#define PATH_SIZE 4096

void device_cache_hash(const void *bytes, size_t len, char ret_hex[65])
{
        unsigned char digest[EVP_MAX_MD_SIZE];

        check(EVP_Digest(bytes, len, digest, NULL, EVP_sha256(), NULL) == 1);
        for (size_t i = 0; i < 32; i++)
                snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
}

/* Ids hold nothing that a file name may not (proto/names.h), and the words in front keep "." and
 * ".." apart from what they mean there. */
static enum err path_of(const char *dir, const char *cohort, const char *event,
                        char path[PATH_SIZE])
{
        int len = snprintf(path, PATH_SIZE, "%s/bundle,%s,%s", dir, cohort, event);

        return len > 0 && len < PATH_SIZE - 8 ? OK : ERR_INVALID;
}

static bool read_head(const char *line, struct device_copy *copy, size_t *ret_size)
{
        char epoch[17], type[DEVICE_CONTENT_TYPE_MAX + 2] = "";
        uint64_t size;
        int used = 0;

        if (sscanf(line, "kickoff-bundle 1 %16s %" SCNu64 " %64s %" SCNu64 "%n", epoch,
                   &copy->version, copy->hash, &size, &used) != 4 ||
            line[used] != ' ' || size > BODY_MAX ||
            token_parse_hex(epoch, strlen(epoch), &copy->epoch) != OK)
                return false;
        snprintf(type, sizeof(type), "%.*s", (int)strcspn(line + used + 1, "\n"), line + used + 1);
        if (strlen(type) > DEVICE_CONTENT_TYPE_MAX)
                return false;
        memcpy(copy->content_type, type, strlen(type) + 1);
        *ret_size = (size_t)size;
        return true;
}

static enum err read_body(FILE *file, size_t size, struct device_copy *copy)
{
        char actual[65], *bytes = malloc(size + 1);

        if (bytes == NULL)
                return ERR_NOMEM;

        bool whole = fread(bytes, 1, size, file) == size && getc(file) == EOF;

        if (whole) {
                device_cache_hash(bytes, size, actual);
                whole = strcmp(actual, copy->hash) == 0;
        }
        buf_init(&copy->bytes);
        if (whole)
                buf_add(&copy->bytes, bytes, size);
        free(bytes);
        if (copy->bytes.failed) {
                buf_fini(&copy->bytes);
                return ERR_NOMEM;
        }
        return whole ? OK : ERR_NOT_FOUND;
}

enum err device_cache_read(const char *dir, const char *cohort, const char *event,
                           struct device_copy *ret_copy)
{
        char path[PATH_SIZE], line[HEAD_MAX];
        struct device_copy copy = { .version = 0 };
        enum err err = ERR_NOT_FOUND;
        size_t size;
        FILE *file;

        if (path_of(dir, cohort, event, path) != OK)
                return ERR_NOT_FOUND;
        file = fopen(path, "re");
        if (file == NULL)
                return ERR_NOT_FOUND;
        if (fgets(line, sizeof(line), file) != NULL && read_head(line, &copy, &size))
                err = read_body(file, size, &copy);
        fclose(file);
        if (err == OK)
                *ret_copy = copy;
        return err;
}

/* A link that lies there is not followed: it would be written to, whatever it leads to. */
static FILE *open_aside(const char *path)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;

        if (file == NULL && fd >= 0)
                close(fd);
        return file;
}

enum err device_cache_write(const char *dir, const char *cohort, const char *event,
                            const struct device_copy *copy)
{
        char path[PATH_SIZE], aside[PATH_SIZE + 8], epoch[17];
        FILE *file;

        if (path_of(dir, cohort, event, path) != OK)
                return ERR_INVALID;
        snprintf(aside, sizeof(aside), "%s.new", path);
        file = open_aside(aside);
        if (file == NULL)
                return ERR_IO;
        token_hex(copy->epoch, epoch);

        bool good = fprintf(file, "kickoff-bundle 1 %s %" PRIu64 " %s %zu %s\n", epoch,
                            copy->version, copy->hash, copy->bytes.len, copy->content_type) > 0 &&
                    (copy->bytes.len == 0 || /* of no bytes there is no address either */
                     fwrite(copy->bytes.data, 1, copy->bytes.len, file) == copy->bytes.len);

        if (fclose(file) == 0 && good && rename(aside, path) == 0)
                return OK;
        (void)unlink(aside);
        return ERR_IO;
}
