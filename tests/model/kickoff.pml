/* tests/model/kickoff.pml -- how the log, two nodes and one device keep the delivery contract through one
 * failover that may lose a tail. spin visits every state it can reach; tests/model/run does that for this
 * model and for each way of breaking it. What is left out, and why that is no loss: README.md.
 *
 *   World ──append, replicate, fail over──► log          kickoff.lua, and a Redis that may lose its tail
 *     └──messages: any, late, again, never──► Node 0, 1  fanout/follower_core.c, state_reader.c, renewal.c
 *   Node  ──questions──► log                             (kickoff1_head, _range, _state, _renew)
 *   Session ──entry or reset──► device                   gateway/session.c, fanout/ring.c
 *
 * A *place* is a number from 1 on, drawn anew for every entry and every renewal: it stands for the whole
 * token, its tag is unlike any other. The tables below say what a place's token and record hold. Comparing
 * two places is comparing tags. NO_TAG is the same model that compares epoch and number only.
 * Place 0 is nothing. Names that begin with ghost_ are seen by the claims alone. */

#ifndef ENTRIES
#define ENTRIES 3                /* appended in all: one is lost, one refills its number, one goes past it */
#endif
#ifndef RENEWALS
#define RENEWALS 2               /* after one failover each node renews at most once: claimed below */
#endif
#define SLOTS  (ENTRIES + 1)     /* numbers 0 .. ENTRIES */
#define PLACES (1 + ENTRIES + RENEWALS)

#if defined(RESET_AHEAD_AT_ONCE)
#define CONFIRMATIONS 0
#elif defined(ONE_CONFIRMATION)
#define CONFIRMATIONS 1
#else
#define CONFIRMATIONS 2          /* session_io.c: the first may answer a question from before the device came */
#endif

/* enum follower_ask, and RENEW, which is state_reader.c's. It holds enum follower_trust as well: DOUBT is a
 * HEAD asked for before its time, BROKEN is STATE and RENEW. */
mtype:ask = { NOTHING, HEAD, RANGE, STATE, RENEW };
mtype:session = { WAITING, LIVE };                      /* enum session_state */

/* ---- places ------------------------------------------------------------------------------------ */

byte epoch_of[PLACES + 1];       /* the generation: two epochs of one generation need two failovers */
byte seq_of[PLACES + 1];         /* 0 = where an epoch begins */
byte prev_of[PLACES + 1];        /* the tag before it; of an epoch's beginning: where the old epoch ended */
byte version_of[PLACES + 1];     /* of the one event's record, ... */
byte made_in[PLACES + 1];        /* ... and the generation in which that record was made */
byte ghost_past[PLACES + 1];     /* bit p: p lies before it or is it, in the log's true history */
byte fresh = 1;                  /* the next place that will be drawn */

#define TRULY_HAS(place, p) ((ghost_past[place] >> (p)) & 1)

#ifdef NO_TAG
#define SAME(a, b)    (epoch_of[a] == epoch_of[b] && seq_of[a] == seq_of[b])
#define FOLLOWS(e, p) (epoch_of[e] == epoch_of[p] && seq_of[e] == seq_of[p] + 1)
#define LOST(end, p)  (seq_of[p] > seq_of[end])
#else
#define SAME(a, b)    ((a) == (b))
#define FOLLOWS(e, p) (epoch_of[e] == epoch_of[p] && seq_of[e] == seq_of[p] + 1 && prev_of[e] == (p))
#define LOST(end, p)  (!TRULY_HAS(end, p))    /* has_lost of kickoff.lua: by number and tag, one epoch */
#endif

/* is_newer of kickoff.lua, book.c: by generation, then by version. */
#define LATER(a, b) (made_in[a] > made_in[b] || (made_in[a] == made_in[b] && version_of[a] > version_of[b]))

byte log = 1;                    /* the place where the primary's log ends: all before it follows from that */
bool failed_over, moved;
byte entries, renewals;

typedef follower {
        byte head;               /* delivered up to here */
        byte ring[SLOTS];        /* fanout/ring.c: the place at each number of head's epoch */
        mtype:ask asking;
        byte asked_at;           /* our head then; RENEW: the place read, whose epoch the log must still have */
        byte answer;             /* where the log ended when Redis answered; 0 = no answer yet */
        byte acked;              /* VOUCH: the last change that this node answered 2xx for, else 0 */
        byte ghost_log;          /* NODES_ALONE: where the log ended when we asked */
};
follower node[2];

typedef session_of_device {
        byte at;                 /* the device's place, its token; connected, it is the session's cursor, too */
        bit on;                  /* the node it is connected to */
        mtype:session state;
        bool pending_reset;
        byte confirmed;          /* WAITING: confirmations since it came */
};
session_of_device device;

byte ghost_owed;                 /* bit e: e was committed, and the device was not told of it, nor reset since */
byte ghost_best = 1;             /* a place with the latest record that any node ever held */

hidden byte i, e, end_, count;   /* for use within one step */
hidden mtype:ask asked;

#define SHOW(p) epoch_of[p], seq_of[p], p     /* %d.%d#%d: epoch.number#tag */

/* ---- claims, each named after what the contract says ---------------------------------------------- */

#define CLAIM(words, holds) if :: holds :: else -> printf(words); assert(false) fi

/* Lines 4, 6: what a device is sent follows in truth what it has. */
#define no_silent_gap(entry) CLAIM("no_silent_gap is broken\n", prev_of[entry] == device.at)

#ifdef EVEN_WHEN_LOST
#define GONE false
#else
#define GONE (device.state == WAITING && !TRULY_HAS(log, device.at))
#endif
/* Line 7: a reset leads back within an epoch only if the device's place is gone from the log, and the node,
 * which never had it, knows so from two confirmed heads. (A node that had it renews the log; if there is one.) */
#define never_backwards(to) CLAIM("never_backwards is broken\n", \
        epoch_of[to] > epoch_of[device.at] || \
        (epoch_of[to] == epoch_of[device.at] && seq_of[to] >= seq_of[device.at]) || GONE)

/* Line 7: no node goes back, whatever the log did. */
#define a_node_goes_only_forwards(n, to) CLAIM("a_node_goes_only_forwards is broken\n", \
        epoch_of[to] > epoch_of[node[n].head] || TRULY_HAS(to, node[n].head))

/* Line 7: a new epoch is begun only after a loss, and each node begins one at most. */
#define renewed_only_after_a_loss(n) CLAIM("renewed_only_after_a_loss is broken\n", \
        failed_over && MISSING(n, log) && renewals < RENEWALS)

/* Line 8: who is confirmed has all that was committed when it asked, but for what is gone from the log. */
#define never_caught_up_while_behind(n) CLAIM("never_caught_up_while_behind is broken\n", \
        TRULY_HAS(node[n].head, node[n].ghost_log) || !TRULY_HAS(log, node[n].ghost_log))

#ifdef EVENTUALLY_TOLD
/* Lines 5, 6: what was committed is delivered, or a reset comes after it. There are finitely many appends, so
 * "each of them, at last" is "from some moment on, none is owed". */
ltl committed_is_delivered_or_reset { <> [] (ghost_owed == 0) }
#endif
#ifdef EVENTUALLY_CAUGHT_UP
/* Lines 8, 9: all have the log's end at last, and no record that a node ever held is forgotten. */
#define HAS_ALL (node[0].head == log && node[1].head == log && device.at == log && device.state == LIVE)
ltl all_catch_up { <> [] (HAS_ALL && !LATER(ghost_best, log)) }
#endif

/* ---- drawing a place ----------------------------------------------------------------------------- */

inline draw(epoch, seq, prev, record_made_in, version)
{
        assert(fresh <= PLACES);
        epoch_of[fresh] = epoch;
        seq_of[fresh] = seq;
        prev_of[fresh] = prev;
        version_of[fresh] = version;
        made_in[fresh] = record_made_in;
        ghost_past[fresh] = ghost_past[prev] | (1 << fresh);
        fresh++;
}

/* ---- gateway/session.c, fanout/ring.c: what a token is worth at this node ------------------------ */

#define NODE  node[device.on]
#define AHEAD (epoch_of[device.at] > epoch_of[NODE.head] || \
               (epoch_of[device.at] == epoch_of[NODE.head] && seq_of[device.at] > seq_of[NODE.head]))
#define KEPT  (epoch_of[device.at] == epoch_of[NODE.head] && seq_of[device.at] <= seq_of[NODE.head] && \
               SAME(NODE.ring[seq_of[device.at]], device.at))

inline reset_device()
{
        printf("device: reset from %d.%d#%d to %d.%d#%d by node %d\n", SHOW(device.at), SHOW(NODE.head),
               device.on);
        never_backwards(NODE.head);
        device.at = NODE.head;
        device.state = LIVE;
        device.pending_reset = false;
        device.confirmed = 0;
        ghost_owed = 0;
}

/* session_join, by the token it brings. */
inline connect(n)
{
        device.on = n;
        device.pending_reset = false;
        device.confirmed = 0;
        device.state = (KEPT -> LIVE : WAITING);   /* WAITING that is not AHEAD is reset in the next step */
        printf("device: comes to node %d with %d.%d#%d\n", device.on, SHOW(device.at));
}

proctype Session()
{
        do
        :: d_step { device.state == LIVE && device.pending_reset -> reset_device() }
        :: d_step { device.state == LIVE && !device.pending_reset && seq_of[device.at] < seq_of[NODE.head] ->
                e = NODE.ring[seq_of[device.at] + 1];
                printf("device: has %d.%d#%d, is sent %d.%d#%d by node %d\n", SHOW(device.at), SHOW(e),
                       device.on);
                no_silent_gap(e);
                device.at = e;
                ghost_owed = ghost_owed & ~(1 << e);
           }
        :: d_step { device.state == WAITING && KEPT -> device.state = LIVE; device.confirmed = 0 }
        :: d_step { device.state == WAITING && !KEPT && (!AHEAD || device.confirmed >= CONFIRMATIONS) ->
                reset_device()
           }
        od
}

/* ---- fanout/follower_core.c ------------------------------------------------------------------------ */

inline deliver(n, entry)
{
        node[n].head = entry;
        node[n].ring[seq_of[entry]] = entry;
        if
        :: LATER(entry, ghost_best) -> ghost_best = entry
        :: else
        fi
}

inline ask(n, what)
{
        node[n].asking = what;
        node[n].asked_at = node[n].head;
#ifdef NODES_ALONE
        node[n].ghost_log = log
#endif
}

/* What a message makes us ask at once. While a question is out, its answer will tell as much. */
inline ask_if_idle(n, what)
{
        if
        :: node[n].asking == NOTHING -> ask(n, what)
        :: else
        fi
}

inline on_message(n, entry)
{
        printf("node %d: at %d.%d#%d, message %d.%d#%d\n", n, SHOW(node[n].head), SHOW(entry));
        if
        :: node[n].asking == STATE || node[n].asking == RENEW     /* a state is on its way */
        :: else ->
                if
                :: FOLLOWS(entry, node[n].head) -> deliver(n, entry)
                :: else ->
                        if
                        :: epoch_of[entry] == epoch_of[node[n].head] &&
                           seq_of[entry] > seq_of[node[n].head] + 1 -> ask_if_idle(n, RANGE)
                        :: epoch_of[entry] == epoch_of[node[n].head] &&
                           (seq_of[entry] < seq_of[node[n].head] || SAME(entry, node[n].head))
                        :: else -> ask_if_idle(n, HEAD)
                        fi
                fi
        fi
}

inline confirm(n)
{
        printf("node %d: confirmed at %d.%d#%d\n", n, SHOW(node[n].head));
        never_caught_up_while_behind(n);
        if
        :: device.on == n && device.state == WAITING && device.confirmed < 2 -> device.confirmed++
        :: else
        fi
}

#ifdef LOOK_AT_THE_HEAD_ONLY
#define ELSEWHERE(n, end) (seq_of[end] == seq_of[node[n].head] && !SAME(end, node[n].head))
#else
#define ELSEWHERE(n, end) (seq_of[end] <= seq_of[node[n].head] && !SAME(end, node[n].ring[seq_of[end]]))
#endif

/* Has the log, as of this answer, another entry at the number that we answered 2xx for, or none? */
#define BETRAYS(n, end) (node[n].acked != 0 && epoch_of[node[n].acked] == epoch_of[node[n].head] && \
        (seq_of[node[n].acked] > seq_of[end] || \
         (seq_of[node[n].acked] <= seq_of[node[n].head] && \
          node[n].ring[seq_of[node[n].acked]] != node[n].acked)))

inline on_head(n, end)
{
        if
        :: epoch_of[end] != epoch_of[node[n].head] || seq_of[end] < seq_of[node[n].asked_at] ||
           (seq_of[end] == seq_of[node[n].asked_at] && !SAME(end, node[n].asked_at)) ||
           BETRAYS(n, end) -> ask(n, STATE)
        :: else ->
                if
                :: ELSEWHERE(n, end) -> ask(n, HEAD)      /* our head is newer than the question */
                :: else ->
#ifdef CONFIRM_ON_ANSWER
                        confirm(n);
#endif
                        if
                        :: seq_of[end] > seq_of[node[n].head] -> ask(n, RANGE)
                        :: else -> confirm(n)
                        fi
                fi
        fi
}

/* `e` is the log's entry at number `i`, as of the answer. */
inline read_entry(end)
{
        e = end;
        do
        :: seq_of[e] > i -> e = prev_of[e]
        :: else -> break
        od
}

inline on_range(n, end)
{
        count = 0;                                        /* how many were delivered */
        i = seq_of[node[n].asked_at] + 1;
        if
        :: epoch_of[end] != epoch_of[node[n].head] -> i = SLOTS
        :: else ->
                if
                :: seq_of[node[n].head] >= i ->           /* messages brought the first ones */
                        i = seq_of[node[n].head];
                        read_entry(end);
                        i = (i > seq_of[end] || SAME(e, node[n].head) -> i + 1 : i)
                :: else
                fi;
                do
                :: i <= seq_of[end] ->
                        read_entry(end);
                        if
                        :: FOLLOWS(e, node[n].head) -> deliver(n, e); count++; i++
                        :: else -> break
                        fi
                :: else -> break
                od
        fi;
        if
        :: count == 0 && i <= seq_of[end] ->              /* contradict() */
                ask(n, (SAME(node[n].head, node[n].asked_at) -> STATE : HEAD))
        :: else -> on_head(n, end)
        fi
}

/* ---- fanout/state_reader.c, renewal.c, and session_rejudge ----------------------------------------- */

inline install(n, end)
{
        printf("node %d: at %d.%d#%d, installs %d.%d#%d\n", n, SHOW(node[n].head), SHOW(end));
        a_node_goes_only_forwards(n, end);
        node[n].head = end;
        i = ENTRIES;
        do
        :: i > seq_of[end] -> node[n].ring[i] = 0; i--
        :: else -> break
        od;
        e = end;
        do
        :: node[n].ring[seq_of[e]] = e;
                if
                :: seq_of[e] == 0 -> break
                :: else -> e = prev_of[e]
                fi
        od;
        if
        :: device.on == n && device.state == LIVE && !KEPT ->
#ifndef NO_REJUDGE
                device.pending_reset = true
#else
                skip
#endif
        :: device.on == n && device.state == WAITING -> device.confirmed = 0
        :: else
        fi;
        ask(n, HEAD)                                      /* messages since the read were not kept */
}

/* renewal_is_needed: what a node holds is not in the log, or a record of its book is later than the log's. */
#ifdef NO_RECORDS
#define LACKS(end, p) (epoch_of[end] == epoch_of[p] && LOST(end, p))
#else
#define LACKS(end, p) (epoch_of[end] == epoch_of[p] -> LOST(end, p) : LATER(p, end))
#endif
#define MISSING(n, end) (LACKS(end, node[n].head) || (node[n].acked != 0 && LACKS(end, node[n].acked)))

inline on_state(n, end)
{
        assert(epoch_of[end] >= epoch_of[node[n].head]);  /* earlier ones need a second failover */
#ifndef NO_RENEW
        if
        :: MISSING(n, end) -> ask(n, RENEW); node[n].asked_at = end
        :: else -> install(n, end)
        fi
#else
        install(n, end)
#endif
}

/* kickoff1_renew: compare-and-set on the epoch; looks for itself whether something is missing. Our head has
 * not moved since we asked: who is BROKEN takes no messages. */
inline renew(n)
{
        if
        :: epoch_of[log] == epoch_of[node[n].asked_at] && MISSING(n, log) ->
                renewed_only_after_a_loss(n);
                e = log;
#ifndef NO_RECORDS
                e = (LATER(node[n].head, e) -> node[n].head : e);
                e = (node[n].acked != 0 && LATER(node[n].acked, e) -> node[n].acked : e);
#endif
                draw(epoch_of[log] + 1, 0, log, made_in[e], version_of[e]);
                log = fresh - 1;
                renewals++;
                printf("log: node %d renews it, %d.%d#%d\n", n, SHOW(log))
        :: else
        fi
}

inline on_answer(n)
{
        asked = node[n].asking;
        end_ = node[n].answer;
        node[n].asking = NOTHING;
        node[n].answer = 0;
        if
        :: asked == HEAD -> on_head(n, end_)
        :: asked == RANGE -> on_range(n, end_)
        :: asked == STATE -> on_state(n, end_)
        fi;
        if
        :: node[n].asking == NOTHING ->                   /* forgotten, so that equal states look equal */
                node[n].asked_at = 0;
                node[n].ghost_log = 0
        :: else
        fi
}

proctype Node(bit n)
{
        do
#ifndef NO_HEAD_PROBE
        :: d_step { node[n].asking == NOTHING -> ask(n, HEAD) }               /* once a second */
#endif
        :: d_step { (node[n].asking == HEAD || node[n].asking == RANGE || node[n].asking == STATE) &&
                     node[n].answer == 0 -> node[n].answer = log }            /* in Redis */
        :: d_step { node[n].asking == RENEW -> renew(n); ask(n, STATE) }      /* whoever won: read it again */
        :: d_step { node[n].answer != 0 -> on_answer(n) }
        od
}

/* ---- kickoff1_append, and the world ------------------------------------------------------------------ */

/* A node appends only to a log that has all it holds (`moved`, `lost`). Committed means answered. */
#define MAY_APPEND(n) (entries < ENTRIES && epoch_of[log] == epoch_of[node[n].head] && !MISSING(n, log))

inline append(n)
{
        draw(epoch_of[log], seq_of[log] + 1, log, epoch_of[log], version_of[log] + 1);
        log = fresh - 1;
        entries++;
        ghost_owed = ghost_owed | (1 << log);
#ifdef VOUCH
        node[n].acked = log;
#endif
        printf("log: node %d appends %d.%d#%d after #%d\n", n, SHOW(log), prev_of[log])
}

/* The replica takes over. It may lag by any number of entries: what it has not is lost. If neither a node nor
 * the device ever had that, nobody can tell (README.md), so it is owed to nobody. */
inline fail_over(replica)
{
        printf("log: fails over from %d.%d#%d to %d.%d#%d\n", SHOW(log), SHOW(replica));
#ifndef COUNT_UNSEEN
        ghost_owed = ghost_owed & (ghost_past[replica] | ghost_past[node[0].head] | ghost_past[node[1].head]);
#endif
        log = replica;
        failed_over = true
}

#define TAKES_OVER(place) d_step { !failed_over && TRULY_HAS(log, place) -> fail_over(place) }
/* Whatever was ever published may come, at any time, again, or never. */
#ifdef NO_LATE_MESSAGES
#define COMES(n, entry) d_step { entry < fresh && seq_of[entry] != 0 && TRULY_HAS(log, entry) -> \
        on_message(n, entry) }
#else
#define COMES(n, entry) d_step { entry < fresh && seq_of[entry] != 0 -> on_message(n, entry) }
#endif

init
{
        d_step {
                draw(1, 0, 0, 1, 0);
                node[0].head = 1; node[0].ring[0] = 1; node[0].asking = NOTHING;
                node[1].head = 1; node[1].ring[0] = 1; node[1].asking = NOTHING;
                device.at = 1; device.state = LIVE
        }
#ifdef NODES_ALONE
        atomic { run Node(0); run Node(1) }
#else
        atomic { run Node(0); run Node(1); run Session() }
#endif
        do
        :: d_step { MAY_APPEND(0) -> append(0) }
        :: d_step { MAY_APPEND(1) -> append(1) }
        :: TAKES_OVER(1) :: TAKES_OVER(2) :: TAKES_OVER(3) :: TAKES_OVER(4) :: TAKES_OVER(5)
#ifndef NODES_ALONE
        :: d_step { !moved -> moved = true; connect(1 - device.on) }
#endif
        :: COMES(0, 2) :: COMES(0, 3) :: COMES(0, 4) :: COMES(0, 5) :: COMES(0, 6) :: COMES(0, 7)
        :: COMES(1, 2) :: COMES(1, 3) :: COMES(1, 4) :: COMES(1, 5) :: COMES(1, 6) :: COMES(1, 7)
        :: fresh != 0                                     /* always: nothing need happen */
        od
}
