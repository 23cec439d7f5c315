/* producer/cli/load_put.c -- threads that take the next file each until none is left, or one of
 * them failed. Each has its own connections (http_client); what they share is under one lock. */
#include "producer/cli/load_put.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "producer/cli/ask.h"
#include "producer/cli/progress.h"

#define WAIT_FIRST_MS 250u
#define WAIT_MAX_MS   8000u
#define WAIT_NAMED_S  30 /* a node that names more is asked after this */

struct crew {
        const struct cli *cli;
        const char *event, *directory;
        const struct bundle_file *files;
        const enum load_state *states;
        size_t n;
        pthread_mutex_t lock;
        /* Under it: */
        size_t next; /* the first file that nobody has taken */
        size_t stored;
        struct progress progress;
        enum cli_exit result; /* the first failure */
};

unsigned load_put_wait_ms(unsigned retry_after_s, unsigned tries, uint64_t chance)
{
        unsigned ms = WAIT_MAX_MS;

        if (retry_after_s > 0)
                ms = (retry_after_s < WAIT_NAMED_S ? retry_after_s : WAIT_NAMED_S) * 1000;
        else if (tries < 6 && (WAIT_FIRST_MS << tries) < WAIT_MAX_MS)
                ms = WAIT_FIRST_MS << tries;
        return ms + (unsigned)(chance % (ms / 2 + 1));
}

static void lock(struct crew *crew)
{
        check(pthread_mutex_lock(&crew->lock) == 0);
}

static void unlock(struct crew *crew)
{
        check(pthread_mutex_unlock(&crew->lock) == 0);
}

/* The first that fails says why; the others fall silent. */
static void fail(struct crew *crew, enum cli_exit result, const struct bundle_file *file,
                 const char *why)
{
        lock(crew);
        if (crew->result == CLI_DONE) {
                progress_end(&crew->progress);
                cli_say("%s: %s", file->name, why);
                crew->result = result;
        }
        unlock(crew);
}

static bool is_over(struct crew *crew)
{
        bool over;

        lock(crew);
        over = crew->result != CLI_DONE;
        unlock(crew);
        return over;
}

static const struct bundle_file *take_next(struct crew *crew)
{
        const struct bundle_file *file = NULL;

        lock(crew);
        while (crew->next < crew->n && crew->states[crew->next] != LOAD_SEND)
                crew->next++;
        if (crew->result == CLI_DONE && crew->next < crew->n)
                file = &crew->files[crew->next++];
        unlock(crew);
        return file;
}

static void count(struct crew *crew, const struct bundle_file *file)
{
        char what[256];

        snprintf(what, sizeof(what), "%s  %zu bytes  %s", file->cohort, file->size, file->type);
        lock(crew);
        crew->stored++;
        progress_step(&crew->progress, what, file->size, clock_mono_ms());
        unlock(crew);
}

enum verdict { STORED, AGAIN, FAILED };

static enum verdict judge(struct crew *crew, const struct bundle_file *file,
                          const struct ask_try *got)
{
        const char *sha256 = json_string_value(json_object_get(got->json, "sha256"));
        char why[512];

        if (got->err == OK && got->status == 200 && sha256 != NULL) {
                if (strcmp(sha256, file->sha256) == 0)
                        return STORED;
                fail(crew, CLI_REFUSED, file,
                     "the node stored other bytes than were sent. Nothing was published.");
                return FAILED;
        }
        if (got->err == ERR_TIMEOUT || got->err == ERR_IO || got->err == ERR_UNAVAILABLE ||
            (got->err == OK && (got->status == 429 || got->status >= 500) && got->status != 501))
                return AGAIN;
        if (got->err != OK) {
                fail(crew, CLI_REFUSED, file, err_name(got->err));
        } else {
                ask_try_text(got, why, sizeof(why));
                fail(crew, CLI_REFUSED, file, why);
        }
        return FAILED;
}

static bool put(struct crew *crew, const struct bundle_file *file, const char *bytes, size_t len,
                struct rng *rng)
{
        char path[256], why[512] = "no answer from the node";

        snprintf(path, sizeof(path), "/v1/events/%s/bundles/%s", crew->event, file->cohort);
        for (unsigned tries = 0; tries < LOAD_TRIES && !is_over(crew); tries++) {
                struct ask_try got;
                enum verdict verdict;
                unsigned wait_ms;

                if (!ask_once_bytes(crew->cli, "PUT", path, file->type, bytes, len, &got)) {
                        fail(crew, CLI_USAGE, file, "not sent");
                        return false;
                }
                verdict = judge(crew, file, &got);
                wait_ms = load_put_wait_ms(got.retry_after_s, tries, rng_u64(rng));
                if (got.err == OK)
                        ask_try_text(&got, why, sizeof(why));
                json_decref(got.json);
                if (verdict != AGAIN)
                        return verdict == STORED;
                usleep((useconds_t)wait_ms * 1000);
        }
        fail(crew, CLI_UNREACHABLE, file, why);
        return false;
}

static bool put_file(struct crew *crew, const struct bundle_file *file, struct rng *rng)
{
        char hex[65], *bytes;
        bool stored = false;
        size_t len;

        if (bundle_files_read(crew->directory, file, &bytes, &len) != OK) {
                fail(crew, CLI_USAGE, file, "cannot be read any more");
                return false;
        }
        bundle_files_sha256(bytes, len, hex);
        if (strcmp(hex, file->sha256) != 0)
                fail(crew, CLI_USAGE, file, "was changed while it was being loaded. Run it again.");
        else
                stored = put(crew, file, bytes, len, rng);
        free(bytes);
        return stored;
}

static void *work(void *arg)
{
        struct crew *crew = arg;
        const struct bundle_file *file;
        struct rng rng;

        rng_seed(&rng, rng_secure_u64());
        while ((file = take_next(crew)) != NULL && put_file(crew, file, &rng))
                count(crew, file);
        return NULL;
}

enum cli_exit load_put(const struct cli *cli, const char *event, const char *directory,
                       const struct bundle_file *files, const enum load_state *states, size_t n,
                       unsigned jobs, size_t *ret_stored)
{
        struct crew crew = { .cli = cli,
                             .event = event,
                             .directory = directory,
                             .files = files,
                             .states = states,
                             .n = n };
        pthread_t threads[LOAD_JOBS_MAX];
        size_t send = 0;
        unsigned started = 0;

        for (size_t i = 0; i < n; i++)
                send += states[i] == LOAD_SEND;
        check(jobs > 0 && jobs <= LOAD_JOBS_MAX);
        if (jobs > send)
                jobs = (unsigned)send;
        check(pthread_mutex_init(&crew.lock, NULL) == 0);
        progress_begin(&crew.progress, send, clock_mono_ms());
        while (started < jobs && pthread_create(&threads[started], NULL, work, &crew) == 0)
                started++;
        if (started == 0 && send > 0)
                (void)work(&crew); /* no threads to be had: alone */
        for (unsigned i = 0; i < started; i++)
                check(pthread_join(threads[i], NULL) == 0);
        if (crew.result == CLI_DONE)
                progress_end(&crew.progress);
        check(pthread_mutex_destroy(&crew.lock) == 0);
        *ret_stored = crew.stored;
        return crew.result;
}
