/* Threads race for the frames of one snapshot and of one entry, and take and drop references to
 * them, as workers do at a broadcast. Under ThreadSanitizer this shows a missing order, under
 * AddressSanitizer a double free. Exit 0 = ok. */
#include "fanout/entry.h"
#include "fanout/snapshot.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define THREADS 4
#define ROUNDS  200

struct round {
        struct snapshot *snapshot;
        struct entry *entry;
        pthread_barrier_t *start;
};

static void *work(void *arg)
{
        struct round *round = arg;
        struct snapshot *snapshot = snapshot_ref(round->snapshot);
        struct entry *entry = entry_ref(round->entry);
        size_t bytes = 0;

        pthread_barrier_wait(round->start);
        for (unsigned reason = 0; reason < RESET_REASONS; reason++) {
                for (unsigned wire = 0; wire < WIRES; wire++) {
                        struct blob *frame = snapshot_frame(snapshot, (enum reset_reason)reason,
                                                            (enum wire)wire);

                        check(frame == snapshot_frame(snapshot, (enum reset_reason)reason,
                                                      (enum wire)wire));
                        bytes += frame->len + frame->data[frame->len - 1];
                }
        }
        for (unsigned wire = 0; wire < WIRES; wire++) {
                struct blob *frame = entry_signal_frame(entry, (enum wire)wire);

                check(frame == entry_signal_frame(entry, (enum wire)wire));
                bytes += frame->len + frame->data[frame->len - 1];
        }
        snapshot_unref(snapshot);
        entry_unref(entry);
        return bytes > 0 ? NULL : arg;
}

int main(void)
{
        struct event_state event = { .event = "final", .stage = "live", .version = 1 };
        struct signal signal = { .token = { 7, 3, 30 }, .state = event };
        struct token token = { 7, 3, 30 };

        for (unsigned i = 0; i < ROUNDS; i++) {
                pthread_t threads[THREADS];
                pthread_barrier_t start;
                struct round round = { snapshot_create(&token, 0, &event, 1),
                                       entry_create(&signal, 20, NULL), &start };

                check(round.snapshot != NULL && round.entry != NULL);
                check(pthread_barrier_init(&start, NULL, THREADS) == 0);
                for (unsigned t = 0; t < THREADS; t++)
                        check(pthread_create(&threads[t], NULL, work, &round) == 0);
                for (unsigned t = 0; t < THREADS; t++) {
                        void *failed;

                        check(pthread_join(threads[t], &failed) == 0 && failed == NULL);
                }
                snapshot_unref(round.snapshot);
                entry_unref(round.entry);
                pthread_barrier_destroy(&start);
        }
        printf("ok\n");
        return 0;
}
