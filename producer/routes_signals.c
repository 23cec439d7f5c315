/* producer/routes_signals.c -- the signal log, as producers read it back, and the delivery report
 * of one signal. The log may have been trimmed at its beginning: an answer then says so
 * (`trimmed`), since a list with a hole looks like a whole one. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fanout/reader.h"
#include "fanout/report.h"
#include "producer/admin_inside.h"
#include "producer/view.h"

#define LIMIT_DEFAULT 100

struct question {
        struct pending pending; /* first */
        seqno after;
        size_t limit;
        bool is_one; /* the signal after + 1 alone, with its report */
        struct signal signal;
};

/* `head` is of the same moment as the entries: with a later one, a signal that came in between
 * would look like one that is gone, and be skipped. */
static void answer_many(struct question *question, struct entry *const *entries, size_t n,
                        seqno head)
{
        seqno first = n > 0 ? entries[0]->signal.token.seq : 0;
        seqno last = n > 0 ? entries[n - 1]->signal.token.seq : question->after;
        bool is_trimmed = n > 0 ? first != question->after + 1 : head > question->after;

        if (n == 0 && is_trimmed) /* go on behind what is gone */
                last = head - question->after > question->limit ? question->after + question->limit
                                                                : head;
        reply_view(question->pending.request, 200,
                   json_pack("{s:o, s:I, s:I, s:b}", "signals", view_signals(entries, n), "next",
                             (json_int_t)last, "head", (json_int_t)head, "trimmed",
                             (int)is_trimmed));
}

static void end(struct question *question)
{
        pending_finish(&question->pending);
        free(question);
}

static void on_report(void *owner, enum err err, const struct report *report)
{
        struct question *question = owner;

        if (pending_is_open(&question->pending)) {
                if (err != OK)
                        reply_redis(question->pending.request, err);
                else
                        reply_view(question->pending.request, 200,
                                   view_signal_report(&question->signal, report));
                pending_answered(&question->pending);
        }
        end(question);
}

/* The parts are told apart by the signal's epoch and tag, so the signal is read first. */
static void ask_report(struct question *question, const struct signal *signal)
{
        const struct admin_options *options = &question->pending.admin->options;
        enum err err;

        question->signal = *signal;
        err = report_read(options->redis, options->ns, &question->signal, clock_wall_ms(),
                          on_report, question);
        if (err != OK)
                on_report(question, err, NULL);
}

static void answer_none(struct question *question)
{
        httpd_reply_problem(question->pending.request, 404, "signal-not-found", "No such signal",
                            "The log has no signal of this number: it is not there yet, or "
                            "so old that it was trimmed. GET /v1/signals lists what is kept.",
                            NULL);
}

static void on_signals(void *owner, enum err err, struct entry *const *entries, size_t n,
                       seqno head)
{
        struct question *question = owner;

        if (pending_is_open(&question->pending)) {
                if (err == OK && question->is_one && n > 0) {
                        ask_report(question, &entries[0]->signal);
                        return;
                }
                if (err != OK)
                        reply_redis(question->pending.request, err);
                else if (question->is_one)
                        answer_none(question);
                else
                        answer_many(question, entries, n, head);
                pending_answered(&question->pending);
        }
        end(question);
}

static void ask_signals(struct admin *admin, struct httpd_request *request, seqno after,
                        size_t limit, bool is_one)
{
        struct question *question = calloc(1, sizeof(*question));
        enum err err;

        if (question == NULL) {
                reply_redis(request, ERR_NOMEM);
                return;
        }
        if (!pending_start(&question->pending, admin, request, pending_read_late)) {
                free(question);
                return;
        }
        question->after = after;
        question->limit = limit;
        question->is_one = is_one;
        err = reader_signals(admin->options.redis, admin->options.ns, after, limit, on_signals,
                             question);
        if (err != OK)
                on_signals(question, err, NULL, 0, 0);
}

void routes_signals_list(void *owner, struct httpd_request *request)
{
        uint64_t after, limit;
        struct fault fault;

        if (!guard_read(owner, request))
                return;
        if (!input_number("after", httpd_query(request, "after"), 0, SEQNO_MAX - READER_SIGNALS_MAX,
                          0, &after, &fault) ||
            !input_number("limit", httpd_query(request, "limit"), 1, READER_SIGNALS_MAX,
                          LIMIT_DEFAULT, &limit, &fault))
                reply_fault(request, &fault);
        else
                ask_signals(owner, request, after, limit, false);
}

void routes_signals_show(void *owner, struct httpd_request *request)
{
        uint64_t seq;
        struct fault fault;

        if (!guard_read(owner, request))
                return;
        if (!input_number("seq", httpd_placeholder(request, 0), 1, SEQNO_MAX, 1, &seq, &fault))
                reply_fault(request, &fault);
        else
                ask_signals(owner, request, seq - 1, 1, true);
}
