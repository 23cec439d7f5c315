/* tests/support/redis_files.h -- what deploy/redis/prepare writes, for tests that start servers
 * with it. The files stay as they are but for one line: `user default off` would keep
 * test_redis_ask out. */
#pragma once

#include <stddef.h>

struct redis_files {
        char dir[64];
};

/* Runs SOURCE_DIR/deploy/redis/prepare with these arguments, the directory put before the
 * addresses. */
void redis_files_make(struct redis_files *files, const char *source_dir, const char *options,
                      const char *addresses);
/* DIR/ADDRESS/NAME. Returns `path`. */
const char *redis_files_path(const struct redis_files *files, const char *address, const char *name,
                             char path[160]);
/* From now on the default user may do all, in this server's users.acl. */
void redis_files_open(const struct redis_files *files, const char *address);
/* What kickoffd of this kind ("kickoff-node", "kickoff-edge") is to be given; `text` gets the URL.
 */
void redis_files_url(const struct redis_files *files, const char *user, char text[512]);
/* The password in it. */
void redis_files_password(const struct redis_files *files, const char *user, char text[128]);
char *redis_files_read(const char *path); /* a whole file, to be freed */
void redis_files_write(const char *path, const char *text);
void redis_files_end(struct redis_files *files); /* removes all of it */
