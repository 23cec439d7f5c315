/* fanout/follower_core.c -- one function per input, then one that decides what to ask next. The
 * rule behind all of them: messages may be late, doubled or of a lost history, so they can only
 * deliver what fits and raise doubt; only answers of the log prove that a history broke.
 *
 * An answer describes the log at some moment between our question and now. Meanwhile our head may
 * have moved on by messages, so an answer that does not fit proves something only against the head
 * we had when we asked (`asked_at`), never against what came since. */
#include "fanout/follower_core.h"

void follower_core_init(struct follower_core *core)
{
        *core = (struct follower_core){ .trust = FOLLOWER_BROKEN };
}

static bool has_moved(const struct follower_core *core)
{
        return !token_equal(&core->head, &core->asked_at);
}

static void doubt(struct follower_core *core)
{
        if (core->trust == FOLLOWER_SURE)
                core->trust = FOLLOWER_DOUBT;
}

/* An answer of the log that does not fit our head. */
static void contradict(struct follower_core *core)
{
        core->trust = has_moved(core) ? FOLLOWER_DOUBT : FOLLOWER_BROKEN;
}

static void hear_of(struct follower_core *core, seqno seq)
{
        if (core->seen <= core->head.seq && seq > core->head.seq)
                core->gaps++;
        if (seq > core->seen)
                core->seen = seq;
}

static bool is_next(const struct follower_core *core, const struct entry *entry)
{
        const struct token *token = &entry->signal.token;

        return token->epoch == core->head.epoch && token->seq == core->head.seq + 1 &&
               entry->prev_tag == core->head.tag;
}

static bool is_vouching(const struct follower_core *core)
{
        return core->vouched.epoch != 0 && core->vouched.epoch == core->head.epoch &&
               core->vouched.seq > core->head.seq;
}

/* What a producer was told of stands under this number: it is another entry. */
static bool contradicts_vouched(const struct follower_core *core, const struct token *token)
{
        return is_vouching(core) && token->seq == core->vouched.seq &&
               token->tag != core->vouched.tag;
}

static void advance(struct follower_core *core, const struct token *token)
{
        seqno at = token->seq - core->asked_at.seq - 1;

        if (at < FOLLOWER_TRAIL)
                core->trail[at] = token->tag;
        core->head = *token;
}

static void on_message(struct follower_core *core, const struct follower_input *input,
                       struct follower_actions *actions)
{
        if (core->trust == FOLLOWER_BROKEN)
                return; /* a state is on its way; whatever it lacks, the head will show */
        if (input->n == 0) {
                doubt(core);
                return;
        }

        const struct entry *entry = input->entries[0];
        const struct token *token = &entry->signal.token;

        if (contradicts_vouched(core, token)) {
                doubt(core);
        } else if (is_next(core, entry)) {
                advance(core, token);
                actions->deliver_n = 1;
        } else if (token->epoch != core->head.epoch || token->seq == core->head.seq + 1) {
                doubt(core);
        } else if (token->seq > core->head.seq) {
                hear_of(core, token->seq);
                if (token->seq > core->seen_since)
                        core->seen_since = token->seq;
        } else {
                core->repeats++;
                if (token->seq == core->head.seq && token->tag != core->head.tag)
                        doubt(core);
        }
}

/* Against what we held when we asked, and what a producer had been told of by then. */
static bool proves_a_loss(const struct follower_core *core, const struct token *token)
{
        if (token->epoch != core->head.epoch || token->seq < core->asked_at.seq ||
            (token->seq == core->asked_at.seq && token->tag != core->asked_at.tag))
                return true;
        return is_vouching(core) && core->is_vouched_asked &&
               (token->seq < core->vouched.seq || contradicts_vouched(core, token));
}

enum fit { FITS, FITS_NOT, CANNOT_TELL };

/* Against what messages brought since: our head is newer than the question, the log's answer may be
 * of another history than they were. */
static enum fit compare_since(const struct follower_core *core, const struct token *token)
{
        seqno at = token->seq - core->asked_at.seq - 1;

        if (token->seq == core->asked_at.seq || token->seq > core->head.seq)
                return FITS;
        if (token->seq == core->head.seq)
                return token->tag == core->head.tag ? FITS : FITS_NOT;
        if (at >= FOLLOWER_TRAIL)
                return CANNOT_TELL;
        return token->tag == core->trail[at] ? FITS : FITS_NOT;
}

static void on_head(struct follower_core *core, const struct token *token, uint64_t now_ms,
                    struct follower_actions *actions)
{
        core->next_head_ms = now_ms + FOLLOWER_HEAD_EVERY_MS;
        if (proves_a_loss(core, token)) {
                core->trust = FOLLOWER_BROKEN;
                return;
        }
        switch (compare_since(core, token)) {
        case FITS:
                break;
        case FITS_NOT:
                core->trust = FOLLOWER_DOUBT;
                return;
        case CANNOT_TELL:
                core->next_head_ms = now_ms;
                return;
        }
        core->trust = FOLLOWER_SURE;
        if (token->seq > core->head.seq) {
                hear_of(core, token->seq);
                return;
        }
        /* The log ends here. Numbers beyond that were heard of before we asked are of a lost
         * history. */
        core->seen = core->head.seq;
        if (core->seen_since > core->seen)
                core->seen = core->seen_since;
        core->confirmed_ms = core->asked_ms; /* what the answer tells may be as old as that */
        core->caught_up = true;
        actions->confirmed = true;
}

static void on_range(struct follower_core *core, const struct follower_input *input,
                     uint64_t now_ms, struct follower_actions *actions)
{
        size_t i = 0;

        /* Messages may have brought the first ones meanwhile. */
        while (i < input->n && input->entries[i]->signal.token.epoch == core->head.epoch &&
               input->entries[i]->signal.token.seq < core->head.seq)
                i++;
        if (i < input->n && token_equal(&input->entries[i]->signal.token, &core->head))
                i++;
        actions->deliver_from = i;
        while (i < input->n && is_next(core, input->entries[i]) &&
               !contradicts_vouched(core, &input->entries[i]->signal.token))
                advance(core, &input->entries[i++]->signal.token);
        actions->deliver_n = i - actions->deliver_from;

        if (actions->deliver_n == 0 && i < input->n)
                contradict(core);
        else if (actions->deliver_n == 0 && !has_moved(core) && input->token.seq > core->head.seq)
                core->trust =
                    FOLLOWER_BROKEN; /* the log went on, and no longer has our next entry */
        else
                on_head(core, &input->token, now_ms, actions);
}

/* Never backwards (contract line 7). Whether the log has lost something that we hold is judged
 * where the whole log is seen at once, in Redis: then it goes on in a later epoch. */
static bool leads_forward(const struct follower_core *core, const struct token *token)
{
        if (token->epoch == 0)
                return false;
        if (token->epoch == core->head.epoch)
                return token->seq > core->head.seq || token_equal(token, &core->head);
        return core->head.epoch == 0 ||
               token_generation(token->epoch) > token_generation(core->head.epoch);
}

static void on_state(struct follower_core *core, const struct token *token, uint64_t now_ms,
                     struct follower_actions *actions)
{
        if (!leads_forward(core, token)) { /* of an old primary, perhaps: ask again */
                core->retry_ms = now_ms + FOLLOWER_RETRY_MS;
                return;
        }
        if (core->head.epoch != 0)
                core->forks++;
        core->head = *token;
        core->seen = token->seq;
        core->trust = FOLLOWER_SURE;
        core->next_head_ms = 0; /* messages since the state was read were not kept: look at once */
        actions->install = true;
}

static void stop_asking(struct follower_core *core)
{
        core->asking = FOLLOWER_ASK_NOTHING;
        core->request++; /* its answer, should it still come, is nobody's */
}

static void on_answer(struct follower_core *core, const struct follower_input *input,
                      uint64_t now_ms, struct follower_actions *actions)
{
        if (core->asking == FOLLOWER_ASK_NOTHING || input->request != core->request)
                return;

        enum follower_ask asked = core->asking;

        stop_asking(core);
        if (core->trust == FOLLOWER_BROKEN && asked != FOLLOWER_ASK_STATE)
                return; /* distrusted since: only a state helps */
        switch (input->kind) {
        case FOLLOWER_RANGE:
                check(asked == FOLLOWER_ASK_RANGE);
                on_range(core, input, now_ms, actions);
                break;
        case FOLLOWER_HEAD:
                check(asked == FOLLOWER_ASK_HEAD);
                on_head(core, &input->token, now_ms, actions);
                break;
        case FOLLOWER_STATE:
                check(asked == FOLLOWER_ASK_STATE);
                on_state(core, &input->token, now_ms, actions);
                break;
        default:
                check(input->kind == FOLLOWER_FAILED);
                core->retry_ms = now_ms + FOLLOWER_RETRY_MS;
        }
}

static void on_link(struct follower_core *core, bool up)
{
        stop_asking(core);
        core->link_up = up;
        core->caught_up = false;
        core->retry_ms = 0;
        core->next_head_ms = 0; /* what was published while we were away came to nobody's ears */
}

static void give_up_waiting(struct follower_core *core, uint64_t now_ms)
{
        uint64_t wait_ms =
            core->asking == FOLLOWER_ASK_STATE ? FOLLOWER_STATE_WAIT_MS : FOLLOWER_REPLY_WAIT_MS;

        if (core->asking != FOLLOWER_ASK_NOTHING && now_ms - core->asked_ms >= wait_ms)
                stop_asking(core);
}

static enum follower_ask what_to_ask(const struct follower_core *core, uint64_t now_ms)
{
        if (!core->link_up || core->asking != FOLLOWER_ASK_NOTHING || now_ms < core->retry_ms)
                return FOLLOWER_ASK_NOTHING;
        if (core->trust == FOLLOWER_BROKEN)
                return now_ms < core->next_state_ms ? FOLLOWER_ASK_NOTHING : FOLLOWER_ASK_STATE;
        if (core->trust == FOLLOWER_DOUBT)
                return FOLLOWER_ASK_HEAD;
        if (core->seen > core->head.seq)
                return FOLLOWER_ASK_RANGE;
        return now_ms < core->next_head_ms ? FOLLOWER_ASK_NOTHING : FOLLOWER_ASK_HEAD;
}

void follower_step(struct follower_core *core, const struct follower_input *input, uint64_t now_ms,
                   struct follower_actions *ret_actions)
{
        struct follower_actions actions = { 0 };

        switch (input->kind) {
        case FOLLOWER_LINK_UP:
        case FOLLOWER_LINK_DOWN:
                on_link(core, input->kind == FOLLOWER_LINK_UP);
                break;
        case FOLLOWER_MESSAGE:
                on_message(core, input, &actions);
                break;
        case FOLLOWER_RANGE:
        case FOLLOWER_HEAD:
        case FOLLOWER_STATE:
        case FOLLOWER_FAILED:
                on_answer(core, input, now_ms, &actions);
                break;
        case FOLLOWER_TICK:
                give_up_waiting(core, now_ms);
                break;
        }
        if (core->trust != FOLLOWER_SURE || core->seen > core->head.seq)
                core->caught_up = false;

        actions.ask = what_to_ask(core, now_ms);
        if (actions.ask != FOLLOWER_ASK_NOTHING) {
                core->asking = actions.ask;
                core->asked_at = core->head;
                core->is_vouched_asked = is_vouching(core);
                core->asked_ms = now_ms;
                core->seen_since = 0;
                actions.request = ++core->request;
                actions.range_from = core->head.seq + 1;
        }
        if (actions.ask == FOLLOWER_ASK_STATE)
                core->next_state_ms = now_ms + FOLLOWER_STATE_EVERY_MS;
        *ret_actions = actions;
}

void follower_core_distrust(struct follower_core *core)
{
        core->trust = FOLLOWER_BROKEN;
        core->caught_up = false;
}

void follower_core_vouch(struct follower_core *core, const struct token *token, bool is_replay)
{
        if (token->epoch != core->head.epoch || token->seq <= core->head.seq ||
            (is_vouching(core) && token->seq <= core->vouched.seq))
                return;
        if (is_replay && is_vouching(core)) {
                /* An append would not have been let into a log without what is vouched for; a look
                 * at an old request tells nothing of that, and must not take its place. */
                follower_core_distrust(core);
                return;
        }
        core->vouched = *token;
        core->is_vouched_asked = false;
}

const struct token *follower_core_witness(const struct follower_core *core)
{
        return is_vouching(core) ? &core->vouched : &core->head;
}

bool follower_is_stale(const struct follower_core *core, uint64_t now_ms)
{
        return core->head.epoch == 0 || now_ms - core->confirmed_ms > FOLLOWER_STALE_MS;
}
