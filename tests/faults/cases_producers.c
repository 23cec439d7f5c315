/* tests/faults/cases_producers.c -- producers that ask twice, race each other, ask what cannot be,
 * or die before the answer. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/http_client.h"
#include "base/rng.h"
#include "tests/faults/scene.h"

#define AT_ONCE 50

struct one {
        struct scene *s;
        unsigned i;
        struct produced produced;
};

static void *ask_once(void *arg)
{
        struct one *one = arg;

        one->produced = produce_as(one->s->ledger, &one->s->nodes[one->i % one->s->n_nodes],
                                   "/v1/events/final/stage", "{\"stage\":\"twice\"}", "final",
                                   "twice", "one-key");
        return NULL;
}

FAULT(60, "a producer sends one change 50 times at once, with the same key, to two nodes",
      "all get the same answer, and there is one signal (line 3)", .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ 0 });
        struct one all[AT_ONCE];
        pthread_t threads[AT_ONCE];
        unsigned good = 0;

        for (unsigned i = 0; i < AT_ONCE; i++) {
                all[i] = (struct one){ .s = s, .i = i };
                pthread_create(&threads[i], NULL, ask_once, &all[i]);
        }
        for (unsigned i = 0; i < AT_ONCE; i++) {
                pthread_join(threads[i], NULL);
                good += all[i].produced.status == 200;
        }
        figure("same_answer", "%u of %u", good, AT_ONCE);
        CHECK_KEPT(good == AT_ONCE, "line 3: only %u of %u were answered 200", good, AT_ONCE);
        scene_close(s);
}

FAULT(61, "the same key comes with another body, at another node, and after a restart of all",
      "refused with 422, and nothing is changed (line 3)", .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ 0 });
        struct produced other;

        (void)produce_as(s->ledger, &s->nodes[0], "/v1/events/final/stage", "{\"stage\":\"first\"}",
                         "final", "first", "the-key");
        other = produce_as(s->ledger, &s->nodes[1], "/v1/events/final/stage",
                           "{\"stage\":\"other\"}", "final", "other", "the-key");
        CHECK_KEPT(other.status == 422, "line 3: another body was answered %d", other.status);
        test_redis_restart(s->redis);
        for (unsigned i = 0; i < s->n_nodes; i++) {
                node_kill(&s->nodes[i]);
                scene_start_node(s, i);
        }
        other = produce_as(s->ledger, &s->nodes[1], "/v1/events/final/end", "{}", "final", "",
                           "the-key");
        CHECK_KEPT(other.status == 422, "line 3: another path was answered %d", other.status);
        scene_close(s);
}

/* --- 62 --- */

struct racer {
        struct scene *s;
        unsigned i, rounds;
        unsigned won, lost, odd;
        uint64_t versions[20000]; /* that it won: the version it expected */
};

/* Sends a change that expects `version`; *ret_version is the event's after it. */
static int change_if(struct racer *r, uint64_t version, unsigned n, uint64_t *ret_version)
{
        struct http_ask question = { .method = "POST" };
        struct http_answer answer;
        char url[128], key[48], match[32], body[64];
        json_t *json;
        int status;

        snprintf(url, sizeof(url), "%s/v1/events/final/stage", r->s->nodes[r->i % 2].admin);
        snprintf(key, sizeof(key), "racer-%u-%u", r->i, n);
        snprintf(match, sizeof(match), "\"%" PRIu64 "\"", version);
        snprintf(body, sizeof(body), "{\"stage\":\"r%u-%u\"}", r->i, n);
        question.url = url;
        question.headers[0] = (struct http_header){ "Idempotency-Key", key };
        question.headers[1] = (struct http_header){ "If-Match", match };
        question.headers[2] = (struct http_header){ "Content-Type", "application/json" };
        question.body = body;
        question.body_len = strlen(body);
        if (http_client_ask(&question, &answer) != OK)
                return 0;
        status = answer.status;
        json = json_loads(answer.body, 0, NULL);
        *ret_version = (uint64_t)json_integer_value(
            json_object_get(json_object_get(json, "event"), "version"));
        json_decref(json);
        http_answer_fini(&answer);
        return status;
}

static void *race(void *arg)
{
        struct racer *r = arg;
        uint64_t version = 2;

        for (unsigned n = 0; n < r->rounds; n++) {
                uint64_t now = 0;
                int status = change_if(r, version, n, &now);

                if (status == 200)
                        r->versions[r->won++] = version;
                else if (status == 409)
                        r->lost++;
                else
                        r->odd++;
                if (now)
                        version = now;
                else if (status == 409 && r->odd++ < 3)
                        broken("line 13: a 409 without the current state");
        }
        return NULL;
}

static int compare_u64(const void *a, const void *b)
{
        uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

        return (left > right) - (left < right);
}

FAULT(62,
      "two producers race for each version of one event, 300 times each (10,000 times with --all)",
      "each version has one winner, the other gets 409 and the current state (line 13)",
      .quick = true, .limit_s = 300)
{
        struct scene *s = scene_open(&(struct scene_options){ 0 });
        static struct racer racers[2];
        static uint64_t won[40000];
        pthread_t threads[2];
        size_t n = 0;

        for (unsigned i = 0; i < 2; i++) {
                racers[i] =
                    (struct racer){ .s = s, .i = i, .rounds = faults_thorough ? 10000 : 300 };
                pthread_create(&threads[i], NULL, race, &racers[i]);
        }
        for (unsigned i = 0; i < 2; i++) {
                pthread_join(threads[i], NULL);
                memcpy(won + n, racers[i].versions, racers[i].won * sizeof(*won));
                n += racers[i].won;
        }
        qsort(won, n, sizeof(*won), compare_u64);
        for (size_t i = 1; i < n; i++)
                CHECK_KEPT(won[i] != won[i - 1], "line 13: version %" PRIu64 " was changed twice",
                           won[i]);
        figure("races", "won %u and %u, lost %u and %u", racers[0].won, racers[1].won,
               racers[0].lost, racers[1].lost);
        CHECK_KEPT(racers[0].odd + racers[1].odd == 0, "line 13: answers other than 200 and 409");
        CHECK_KEPT(racers[0].lost + racers[1].lost > 0,
                   "the fault was not made: nobody lost a race");
        scene_close(s);
}

FAULT(63,
      "changes that cannot be now: end before start, delay after the end, start after cancel, ...",
      "409, and the event stays as it was (line 13)", .quick = true)
{
        static const struct {
                const char *first[2], *then; /* what brings it there; what is not possible there */
                const char *then_body;
        } rows[] = {
                { { NULL, NULL }, "end", "{}" },
                { { "start", NULL }, "start", "{}" },
                { { "start", NULL }, "delay", "{\"by\":\"5m\"}" },
                { { "start", "end" }, "delay", "{\"by\":\"5m\"}" },
                { { "start", "end" }, "start", "{}" },
                { { "start", "end" }, "stage", "{\"stage\":\"late\"}" },
                { { "start", "end" }, "end", "{}" },
                { { "start", "end" }, "cancel", "{}" },
                { { "cancel", NULL }, "start", "{}" },
                { { "cancel", NULL }, "end", "{}" },
                { { "cancel", NULL }, "delay", "{\"by\":\"5m\"}" },
                { { "cancel", NULL }, "refresh", "{}" },
        };
        struct scene *s = scene_open(&(struct scene_options){ 0 });

        for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                char id[16], path[64];
                struct answer before, after;
                struct produced wrong;

                snprintf(id, sizeof(id), "event-%u", i);
                create_event(&s->nodes[0], id);
                for (unsigned k = 0; k < 2 && rows[i].first[k]; k++) {
                        snprintf(path, sizeof(path), "/v1/events/%s/%s", id, rows[i].first[k]);
                        change(&s->nodes[0], "POST", path, "{}");
                }
                snprintf(path, sizeof(path), "/v1/events/%s", id);
                before = ask(&s->nodes[0], "GET", path, NULL, NULL);
                snprintf(path, sizeof(path), "/v1/events/%s/%s", id, rows[i].then);
                snprintf(id, sizeof(id), "wrong-%u", i);
                wrong = produce_as(s->ledger, &s->nodes[1], path, rows[i].then_body, "", "", id);
                snprintf(id, sizeof(id), "event-%u", i);
                snprintf(path, sizeof(path), "/v1/events/%s", id);
                after = ask(&s->nodes[0], "GET", path, NULL, NULL);
                CHECK_KEPT(wrong.status == 409, "line 13: %s after %s was answered %d",
                           rows[i].then, rows[i].first[0] ? rows[i].first[0] : "create",
                           wrong.status);
                CHECK_KEPT(json_equal(before.json, after.json),
                           "line 13: a refused %s changed the event", rows[i].then);
                answer_end(&before);
                answer_end(&after);
        }
        scene_close(s);
}

FAULT(64, "the producer's connection is cut before the answer, 20 times at random places",
      "asked again with its key, it is one signal; GET /v1/requests/KEY tells the outcome (line 3)",
      .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ 0 });
        unsigned unanswered = 0, told = 0;
        char *shown;
        struct test_node behind;
        struct tcp_proxy *proxy;
        char server[32];
        struct rng rng;

        rng_seed(&rng, rng_secure_u64());
        snprintf(server, sizeof(server), "127.0.0.1:%u", s->nodes[0].admin_port);
        proxy = tcp_proxy_start(server, NULL, NULL);
        behind = s->nodes[0];
        snprintf(behind.admin, sizeof(behind.admin), "http://127.0.0.1:%u", tcp_proxy_port(proxy));
        for (unsigned i = 0; i < 20; i++) {
                char key[32], mark[16], body[48], path[64];
                struct produced first, again;
                struct answer outcome;

                snprintf(key, sizeof(key), "cut-%u", i);
                snprintf(mark, sizeof(mark), "cut%u", i);
                snprintf(body, sizeof(body), "{\"stage\":\"%s\"}", mark);
                /* half of the time in the midst of the question, half before or in the midst of the
                 * answer */
                tcp_proxy_truncate(proxy, i % 2 ? PROXY_TO_SERVER : PROXY_TO_CLIENT,
                                   rng_below(&rng, 150));
                first = produce_as(s->ledger, &behind, "/v1/events/final/stage", body, "final",
                                   mark, key);
                unanswered += first.status == 0;
                again = produce_as(s->ledger, &s->nodes[1], "/v1/events/final/stage", body, "final",
                                   mark, key);
                CHECK_KEPT(again.status == 200, "line 3: asked again, %s was answered %d", key,
                           again.status);
                snprintf(path, sizeof(path), "/v1/requests/%s", key);
                outcome = ask(&s->nodes[0], "GET", path, NULL, NULL);
                told += outcome.status == 200;
                answer_end(&outcome);
        }
        tcp_proxy_destroy(proxy);
        figure("unanswered", "%u of 20, %u told by /v1/requests", unanswered, told);
        CHECK_KEPT(unanswered > 0, "the fault was not made: every request was answered");
        CHECK_KEPT(told == 20, "line 3: GET /v1/requests/KEY told the outcome of %u of 20", told);
        CHECK_KEPT(run_program(&shown, "kickoff", "request", "cut-0", "--admin", s->nodes[1].admin,
                               "--json", NULL) == 0 &&
                       strstr(shown, "\"committed\""),
                   "line 3: `kickoff request KEY` shows %s", shown);
        free(shown);
        scene_close(s);
}
