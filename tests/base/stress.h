/* tests/base/stress.h -- several threads that begin together. For plain programs that also run
 * under ThreadSanitizer, where Criterion cannot. */
#pragma once

#include <pthread.h>

#include "base/check.h"

#define STRESS_THREADS 4

/* Runs `body(index)` in STRESS_THREADS threads at once and waits for all of them. */
static pthread_barrier_t stress_start;
static void (*stress_body)(unsigned index);

static void *stress_thread(void *arg)
{
        pthread_barrier_wait(&stress_start);
        stress_body((unsigned)(unsigned long)arg);
        return NULL;
}

static void stress_run(void (*body)(unsigned index))
{
        pthread_t threads[STRESS_THREADS];

        stress_body = body;
        check(pthread_barrier_init(&stress_start, NULL, STRESS_THREADS) == 0);
        for (unsigned i = 0; i < STRESS_THREADS; i++)
                check(pthread_create(&threads[i], NULL, stress_thread, (void *)(unsigned long)i) ==
                      0);
        for (unsigned i = 0; i < STRESS_THREADS; i++)
                check(pthread_join(threads[i], NULL) == 0);
        check(pthread_barrier_destroy(&stress_start) == 0);
}
