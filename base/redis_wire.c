/* base/redis_wire.c -- decides how bytes become replies and the other way round; refuses to know
 * what they mean. The only file that includes hiredis, of which it uses the codec alone.
 *
 * Happy path: connect() without blocking -> (TLS) -> on_open -> the bufferevent reads ahead ->
 * on_work, one turn of the loop later, feeds the parser a slice and hands the replies out. Failure:
 * broken() only notes why. What came before is still handed out (Redis says why it closes a
 * connection), then on_lost. */
#include "base/redis_wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>

#include "base/clock.h"
#include "base/redis_tls.h"

#define SLICE_BYTES   16384 /* parsed between two looks at the socket */
#define READ_FIRST_MS 20    /* so long may the socket keep the replies waiting */
#define INPUT_LIMIT   ((size_t)64 << 20)
#define MEMBERS_LIMIT \
        (1 << 20) /* of one array: an announced length is allocated before its members come */
#define KEEPALIVE_IDLE_S 10

struct redis_wire {
        struct event_base *base;
        struct redis_wire_options options;
        struct event *connecting;  /* NULL once connected */
        struct event *work;        /* every callback of the owner runs from here */
        struct bufferevent *bytes; /* owns the socket once it is there */
        redisReader *reader;
        int fd;                    /* -1 = none, or `bytes` has it */
        size_t unfinished;         /* bytes fed since the last whole reply */
        uint64_t reading_since_ms; /* monotonic; 0 = replies are not kept waiting */
        bool fresh;                /* bytes came since `work` was set */
        bool open, told_open;
        bool broken;
        char why[256];
        bool busy, destroyed; /* destroyed while on_work is on the stack: it frees */
};

static void kick(struct redis_wire *wire)
{
        const struct timeval at_once = { 0, 0 };

        check(event_add(wire->work, &at_once) == 0);
}

static void broken(struct redis_wire *wire, const char *what, const char *detail)
{
        if (!wire->broken) /* the first reason is the cause */
                snprintf(wire->why, sizeof(wire->why), "%s%s%s", what, *what != '\0' ? ": " : "",
                         detail);
        wire->broken = true;
        kick(wire);
}

/* --- replies ------------------------------------------------------------------------------- */

/* hiredis 0.14 knows no bound on the members of an array: five bytes would ask for 16 GiB. */
#if HIREDIS_MAJOR < 1
typedef int members_count;
#else
typedef size_t members_count;
#endif
static void *(*create_any_array)(const redisReadTask *task, members_count members);

static void *create_array(const redisReadTask *task, members_count members)
{
        return members > MEMBERS_LIMIT ? NULL : create_any_array(task, members);
}

static redisReplyObjectFunctions bounded; /* written once, shared by all readers */

static void bound_arrays(void)
{
        redisReader *reader = redisReaderCreate();

        check(reader != NULL);
        create_any_array = reader->fn->createArray;
        bounded = *reader->fn;
        bounded.createArray = create_array;
        redisReaderFree(reader);
}

static redisReader *create_reader(void)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        redisReader *reader = redisReaderCreate();

        pthread_once(&once, bound_arrays);
        if (reader != NULL)
                reader->fn = &bounded;
        return reader;
}

static void hand_out(struct redis_wire *wire)
{
        void *reply = NULL;

        while (!wire->destroyed) {
                if (redisReaderGetReply(wire->reader, &reply) != REDIS_OK) {
                        evbuffer_drain(bufferevent_get_input(wire->bytes), INPUT_LIMIT * 2);
                        broken(wire, "not an answer of Redis", wire->reader->errstr);
                        return;
                }
                if (reply == NULL)
                        return;
                wire->unfinished = 0;
                wire->options.on_reply(wire->options.owner, reply);
                freeReplyObject(reply);
        }
}

static void parse_slice(struct redis_wire *wire)
{
        char bytes[SLICE_BYTES];
        int len = wire->bytes == NULL
                      ? 0
                      : evbuffer_remove(bufferevent_get_input(wire->bytes), bytes, sizeof(bytes));

        if (len <= 0)
                return;
        wire->unfinished += (size_t)len;
        if (redisReaderFeed(wire->reader, bytes, (size_t)len) != REDIS_OK)
                broken(wire, "", "out of memory");
        else
                hand_out(wire);
        if (wire->unfinished > INPUT_LIMIT)
                broken(wire, "", "a reply of more than 64 MiB");
}

/* Bytes came while we waited: the socket first, the replies later. */
static bool read_first(struct redis_wire *wire)
{
        uint64_t now_ms = clock_mono_ms();
        bool fresh = wire->fresh && !wire->broken;

        wire->fresh = false;
        if (wire->reading_since_ms == 0)
                wire->reading_since_ms = now_ms;
        if (fresh && now_ms - wire->reading_since_ms < READ_FIRST_MS)
                return true;
        wire->reading_since_ms = 0;
        return false;
}

bool redis_wire_has_input(const struct redis_wire *wire)
{
        return wire->bytes != NULL && evbuffer_get_length(bufferevent_get_input(wire->bytes)) > 0;
}

static void free_wire(struct redis_wire *wire)
{
        if (wire->connecting != NULL)
                event_free(wire->connecting);
        if (wire->bytes != NULL)
                bufferevent_free(wire->bytes);
        if (wire->fd >= 0)
                close(wire->fd);
        if (wire->reader != NULL)
                redisReaderFree(wire->reader);
        if (wire->work != NULL)
                event_free(wire->work);
        free(wire);
}

static void on_work(evutil_socket_t fd, short what, void *arg)
{
        struct redis_wire *wire = arg;

        (void)fd;
        (void)what;
        wire->busy = true;
        if (wire->open && !wire->told_open) {
                wire->told_open = true;
                wire->options.on_open(wire->options.owner);
        }
        if (!wire->destroyed && !read_first(wire))
                parse_slice(wire);
        if (!wire->destroyed && redis_wire_has_input(wire)) {
                kick(wire);
        } else if (!wire->destroyed && wire->broken) {
                event_del(wire->work);
                wire->options.on_lost(wire->options.owner, wire->why);
        }
        wire->busy = false;
        if (wire->destroyed)
                free_wire(wire);
}

/* --- bytes --------------------------------------------------------------------------------- */

static void on_bytes(struct bufferevent *bytes, void *arg)
{
        struct redis_wire *wire = arg;

        if (evtimer_pending(wire->work, NULL))
                wire->fresh = true;
        else
                kick(wire);
        if (evbuffer_get_length(bufferevent_get_input(bytes)) > INPUT_LIMIT) {
                bufferevent_disable(bytes, EV_READ);
                broken(wire, "", "64 MiB came faster than they could be handled");
        }
}

static void on_event(struct bufferevent *bytes, short what, void *arg)
{
        struct redis_wire *wire = arg;
        int error = EVUTIL_SOCKET_ERROR();
        char text[200];

        if (what & BEV_EVENT_CONNECTED) { /* TLS stands; a plain one is open from the start */
                wire->open = true;
                kick(wire);
                return;
        }
        /* Redis may say why, close, and only then get our bytes. What it said is still to be read,
         * and reading finds the end, too. */
        if ((what & BEV_EVENT_WRITING) && wire->options.tls == NULL &&
            (error == EPIPE || error == ECONNRESET)) {
                bufferevent_disable(bytes, EV_WRITE);
                return;
        }
        bufferevent_disable(bytes, EV_READ | EV_WRITE);
        if (what & BEV_EVENT_EOF)
                broken(wire, "", "the server closed the connection");
        else if (wire->options.tls != NULL &&
                 redis_tls_explain(bytes, wire->options.host, text, sizeof(text)))
                broken(wire, "TLS", text);
        else if (error != 0 && error != ECONNRESET && error != EPIPE)
                broken(wire, "", strerror(error));
        else /* how much of ours it had read is no different reason */
                broken(wire, "", "the server closed the connection");
}

static void set_up_bytes(struct redis_wire *wire)
{
        const char *why = "out of memory";

        if (wire->options.tls != NULL)
                wire->bytes = redis_tls_bufferevent(wire->base, wire->fd, wire->options.tls,
                                                    wire->options.host, &why);
        else
                wire->bytes = bufferevent_socket_new(wire->base, wire->fd, BEV_OPT_CLOSE_ON_FREE);
        if (wire->bytes == NULL) {
                broken(wire, "", why);
                return;
        }
        wire->fd = -1;
        bufferevent_setcb(wire->bytes, on_bytes, NULL, on_event, wire);
        if (bufferevent_enable(wire->bytes, EV_READ | EV_WRITE) != 0) {
                broken(wire, "", "out of memory");
                return;
        }
        wire->open = wire->options.tls == NULL;
        if (wire->open)
                kick(wire);
}

/* --- connecting: by hand, for the exact error of connect() ---------------------------------- */

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
        struct redis_wire *wire = arg;
        int error = 0;
        socklen_t len = sizeof(error);

        (void)what;
        event_free(wire->connecting);
        wire->connecting = NULL;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
                error = errno;
        if (error != 0)
                broken(wire, "connect", strerror(error));
        else
                set_up_bytes(wire);
}

static void tune_tcp(int fd)
{
        const int on = 1, idle_s = KEEPALIVE_IDLE_S;

        /* Best effort: none of it is needed for a right answer. */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
}

static void start_connecting(struct redis_wire *wire)
{
        const struct sockaddr *address = wire->options.address;

        wire->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (wire->fd < 0) {
                broken(wire, "socket", strerror(errno));
                return;
        }
        if (address->sa_family != AF_UNIX)
                tune_tcp(wire->fd);
        if (connect(wire->fd, address, wire->options.address_len) != 0 && errno != EINPROGRESS) {
                broken(wire, "connect", strerror(errno));
                return;
        }
        wire->connecting = event_new(wire->base, wire->fd, EV_WRITE, on_connected, wire);
        if (wire->connecting == NULL || event_add(wire->connecting, NULL) != 0)
                broken(wire, "", "out of memory");
}

/* --- the owner's side ---------------------------------------------------------------------- */

enum err redis_wire_create(struct event_base *base, const struct redis_wire_options *options,
                           struct redis_wire **ret_wire)
{
        struct redis_wire *wire = calloc(1, sizeof(*wire));

        if (wire == NULL)
                return ERR_NOMEM;
        wire->base = base;
        wire->options = *options;
        wire->fd = -1;
        wire->reader = create_reader();
        wire->work = evtimer_new(base, on_work, wire);
        if (wire->reader == NULL || wire->work == NULL) {
                free_wire(wire);
                return ERR_NOMEM;
        }
        start_connecting(wire);
        *ret_wire = wire;
        return OK;
}

void redis_wire_destroy(struct redis_wire *wire)
{
        if (wire == NULL)
                return;
        check(!wire->destroyed);
        wire->destroyed = true;
        if (!wire->busy)
                free_wire(wire);
}

enum err redis_wire_send(struct redis_wire *wire, int argc, const char *const *argv,
                         const size_t *lens)
{
        char *text = NULL;
        long long len = redisFormatCommandArgv(&text, argc, (const char **)argv, lens);
        enum err err = OK;

        check(wire->told_open);
        if (len < 0)
                return ERR_NOMEM;
        if (bufferevent_write(wire->bytes, text, (size_t)len) != 0)
                err = ERR_NOMEM;
        redisFreeCommand(text);
        return err;
}

/* --- replies: hiredis' own structure under another name ------------------------------------ */

static const redisReply *inside(const struct redis_reply *reply)
{
        return (const redisReply *)reply;
}

enum redis_type redis_type(const struct redis_reply *reply)
{
        switch (inside(reply)->type) {
        case REDIS_REPLY_STRING:
                return REDIS_STRING;
        case REDIS_REPLY_STATUS:
                return REDIS_STATUS;
        case REDIS_REPLY_ERROR:
                return REDIS_ERROR;
        case REDIS_REPLY_INTEGER:
                return REDIS_INTEGER;
        case REDIS_REPLY_ARRAY:
                return REDIS_ARRAY;
        default: /* the types of RESP3 cannot come: we never ask for it */
                return REDIS_NIL;
        }
}

const char *redis_text(const struct redis_reply *reply, size_t *ret_len)
{
        enum redis_type type = redis_type(reply);
        bool has_text = type == REDIS_STRING || type == REDIS_STATUS || type == REDIS_ERROR;

        if (ret_len != NULL)
                *ret_len = has_text ? inside(reply)->len : 0;
        return has_text ? inside(reply)->str : "";
}

int64_t redis_integer(const struct redis_reply *reply)
{
        return redis_type(reply) == REDIS_INTEGER ? inside(reply)->integer : 0;
}

size_t redis_count(const struct redis_reply *reply)
{
        return redis_type(reply) == REDIS_ARRAY ? inside(reply)->elements : 0;
}

const struct redis_reply *redis_at(const struct redis_reply *reply, size_t i)
{
        if (i >= redis_count(reply))
                return NULL;
        return (const struct redis_reply *)inside(reply)->element[i];
}
