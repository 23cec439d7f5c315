/* Names are looked up on threads: questions asked, answered, given up and cancelled at random, from
 * two loops at once. Every question that is not cancelled is answered exactly once, and (under a
 * sanitizer) nothing is read while it is written, or lost. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/check.h"
#include "base/redis_dns.h"
#include "base/rng.h"

#define QUESTIONS 400
#define AT_ONCE   4

static atomic_uint delays;

/* Answers at once, within the deadline, or after it. */
static int resolve(const char *host, const char *port, const struct addrinfo *hints,
                   struct addrinfo **ret_list)
{
        unsigned n = atomic_fetch_add(&delays, 1);

        (void)host;
        usleep(n % 7 * 1000);
        return n % 5 == 0 ? EAI_AGAIN : getaddrinfo("127.0.0.1", port, hints, ret_list);
}

struct question {
        struct redis_lookup *lookup;
        unsigned *answers;
};

static void on_answer(void *owner, const struct redis_addresses *found, const char *why)
{
        struct question *question = owner;

        check(question->lookup != NULL);
        check((found != NULL && found->n == 1) || why[0] != '\0');
        question->lookup = NULL;
        ++*question->answers;
}

static void *run_loop(void *arg)
{
        struct event_base *base = event_base_new();
        struct redis_dns *dns;
        struct question questions[AT_ONCE] = { 0 };
        unsigned asked = 0, answers = 0, cancelled = 0;
        struct rng rng;

        rng_seed(&rng, (uint64_t)(uintptr_t)arg);
        check(redis_dns_create(base, &dns) == OK);
        while (asked < QUESTIONS || answers + cancelled < asked) {
                struct question *question = &questions[rng_below(&rng, AT_ONCE)];

                if (question->lookup == NULL && asked < QUESTIONS) {
                        question->answers = &answers;
                        check(redis_dns_ask(dns, "redis.test", 6379, 4, on_answer, question,
                                            &question->lookup) == OK);
                        asked++;
                } else if (question->lookup != NULL && rng_below(&rng, 8) == 0) {
                        redis_lookup_cancel(question->lookup);
                        question->lookup = NULL;
                        cancelled++;
                } else {
                        event_base_loop(base, EVLOOP_NONBLOCK);
                        usleep(200);
                }
        }
        check(answers > 0 && cancelled > 0 && answers + cancelled == QUESTIONS);
        redis_dns_destroy(dns);
        event_base_free(base);
        return NULL;
}

int main(void)
{
        pthread_t other;

        redis_dns_set_resolver(resolve);
        check(pthread_create(&other, NULL, run_loop, (void *)1) == 0);
        run_loop((void *)2);
        check(pthread_join(other, NULL) == 0);
        usleep(100 *
               1000); /* for the last threads to end, so that a leak checker sees none of them */
        printf("redis_dns: %u look-ups\n", atomic_load(&delays));
        return 0;
}
