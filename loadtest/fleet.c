/* loadtest/fleet.c -- see fleet.h. A report is a header and fixed structs of this very program: no
 * encoding is needed between a process and its parent. */
#include "loadtest/fleet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "loadtest/fetcher.h"

#define REPORT_EVERY_MS   200
#define FINISH_MS         20000 /* patience for the last reports */
#define GOODBYE_MS        8000  /* and for the processes to end */
#define SPARE_DESCRIPTORS (FETCHER_SLOTS + 40)

enum letter_kind { LETTER_COUNTS, LETTER_SAMPLE, LETTER_RESULT };

struct letter {
        uint32_t kind;
        uint32_t n_tokens; /* RESULT: so many struct token follow the result */
};

struct process {
        pid_t pid;
        int pipe; /* -1 when it said all it has to say */
        bool has_result;
        struct swarm_counts counts;
        struct swarm_result *result;
        struct witness seen;
};

struct fleet {
        struct swarm_board *board;
        struct series series;
        unsigned n;
        struct process processes[];
};

static bool write_all(int fd, const void *bytes, size_t len)
{
        const char *at = bytes;

        while (len > 0) {
                ssize_t n = write(fd, at, len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return false;
                at += n;
                len -= (size_t)n;
        }
        return true;
}

static bool read_all(int fd, void *bytes, size_t len)
{
        char *at = bytes;

        while (len > 0) {
                ssize_t n = read(fd, at, len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return false;
                at += n;
                len -= (size_t)n;
        }
        return true;
}

/* --- in the child --------------------------------------------------------------------------- */

static void send_counts(void *owner, const struct swarm_counts *counts)
{
        const int *fd = owner;
        const struct letter letter = { .kind = LETTER_COUNTS };

        if (!write_all(*fd, &letter, sizeof(letter)) || !write_all(*fd, counts, sizeof(*counts)))
                _exit(1); /* the parent has gone */
}

static void send_sample(void *owner, const struct series_sample *sample)
{
        const int *fd = owner;
        const struct letter letter = { .kind = LETTER_SAMPLE };

        if (!write_all(*fd, &letter, sizeof(letter)) || !write_all(*fd, sample, sizeof(*sample)))
                _exit(1);
}

static _Noreturn void be_a_swarm(struct swarm_options *options, int fd)
{
        static struct swarm_result result;
        const struct witness *seen;
        struct swarm *swarm;
        struct letter letter = { .kind = LETTER_RESULT };

        options->on_sample = send_sample;
        options->sample_owner = &fd;
        if (swarm_create(options, send_counts, &fd, &swarm) != OK)
                _exit(1);
        swarm_run(swarm, &result);
        seen = swarm_seen(swarm);
        letter.n_tokens = (uint32_t)seen->n;
        if (!write_all(fd, &letter, sizeof(letter)) || !write_all(fd, &result, sizeof(result)) ||
            !write_all(fd, seen->tokens, seen->n * sizeof(*seen->tokens)))
                _exit(1);
        swarm_say_goodbye(swarm);
        swarm_destroy(swarm);
        _exit(0);
}

/* --- in the parent -------------------------------------------------------------------------- */

static enum err start_process(struct fleet *fleet, unsigned index, struct swarm_options *options)
{
        struct process *process = &fleet->processes[index];
        pid_t parent = getpid();
        int ends[2];

        process->pipe = -1;
        process->result = malloc(sizeof(*process->result));
        if (process->result == NULL)
                return ERR_NOMEM;
        if (pipe2(ends, O_CLOEXEC) != 0) /* a node that is started later is not to hold it open */
                return ERR_IO;
        process->pid = fork();
        if (process->pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(1);
                signal(SIGINT, SIG_IGN); /* the terminal tells all of us; the parent decides */
                signal(SIGTERM, SIG_DFL);
                for (unsigned i = 0; i < index; i++)
                        close(fleet->processes[i].pipe);
                close(ends[0]);
                be_a_swarm(options, ends[1]);
        }
        close(ends[1]);
        process->pipe = ends[0];
        witness_init(&process->seen);
        if (process->pid < 0) {
                close(ends[0]);
                process->pipe = -1;
                return ERR_IO;
        }
        return OK;
}

enum err fleet_start(const struct swarm_options *options, uint32_t devices, uint64_t descriptors,
                     struct fleet **ret_fleet)
{
        uint64_t room = descriptors > SPARE_DESCRIPTORS + 1 ? descriptors - SPARE_DESCRIPTORS : 1;
        uint64_t most = options->fetch_slots > 0 ? (room + 1) / 2 : room;
        uint32_t each = most < FLEET_PROCESS_DEVICES ? (uint32_t)most : FLEET_PROCESS_DEVICES;
        unsigned n = (devices + each - 1) / each;
        unsigned among = options->in_turn > 0 && options->in_turn < n ? options->in_turn : n;
        struct fleet *fleet = calloc(1, sizeof(*fleet) + n * sizeof(*fleet->processes));
        enum err err = OK;

        if (fleet == NULL)
                return ERR_NOMEM;
        fleet->board = mmap(NULL, sizeof(*fleet->board), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (fleet->board == MAP_FAILED) {
                free(fleet);
                return ERR_NOMEM;
        }
        series_init(&fleet->series);
        atomic_store(&fleet->board->origin_us, clock_mono_us());
        for (unsigned i = 0; i < n && err == OK; i++) {
                struct swarm_options own = *options;

                own.first = (uint32_t)((uint64_t)devices * i / n);
                own.n = (uint32_t)((uint64_t)devices * (i + 1) / n) - own.first;
                own.fetch_slots = options->fetch_slots > 0 ? own.n : 0;
                own.board = fleet->board;
                own.turn = i;
                own.seed = rng_secure_u64();
                own.report_every_ms =
                    options->report_every_ms > 0 ? options->report_every_ms : REPORT_EVERY_MS;
                if (options->connects_per_s > 0)
                        own.connects_per_s = options->connects_per_s / among + 1;
                if (options->window > 0)
                        own.window = options->window / among + 1;
                if (options->back_window > 0)
                        own.back_window = options->back_window / n + 1;
                fleet->n++;
                err = start_process(fleet, i, &own);
        }
        if (err != OK) {
                fleet_destroy(fleet);
                return err;
        }
        *ret_fleet = fleet;
        return OK;
}

unsigned fleet_processes(const struct fleet *fleet)
{
        return fleet->n;
}

struct swarm_board *fleet_board(struct fleet *fleet)
{
        return fleet->board;
}

static void close_pipe(struct process *process)
{
        close(process->pipe);
        process->pipe = -1;
}

static void take_letter(struct fleet *fleet, struct process *process)
{
        struct series_sample sample;
        struct letter letter;
        struct token token;

        if (!read_all(process->pipe, &letter, sizeof(letter)))
                goto gone;
        if (letter.kind == LETTER_COUNTS) {
                if (!read_all(process->pipe, &process->counts, sizeof(process->counts)))
                        goto gone;
                return;
        }
        if (letter.kind == LETTER_SAMPLE) {
                if (!read_all(process->pipe, &sample, sizeof(sample)))
                        goto gone;
                series_add(&fleet->series, &sample);
                return;
        }
        if (!read_all(process->pipe, process->result, sizeof(*process->result)))
                goto gone;
        for (uint32_t i = 0; i < letter.n_tokens; i++) {
                if (!read_all(process->pipe, &token, sizeof(token)))
                        goto gone;
                witness_saw(&process->seen, &token);
        }
        process->counts = process->result->counts;
        process->has_result = true;
gone:
        close_pipe(process);
}

bool fleet_poll(struct fleet *fleet, int timeout_ms)
{
        struct pollfd *fds = calloc(fleet->n, sizeof(*fds));
        bool all_well = true;

        check(fds != NULL);
        for (unsigned i = 0; i < fleet->n; i++)
                fds[i] = (struct pollfd){ .fd = fleet->processes[i].pipe, .events = POLLIN };
        if (poll(fds, fleet->n, timeout_ms) > 0)
                for (unsigned i = 0; i < fleet->n; i++)
                        if (fds[i].revents != 0)
                                take_letter(fleet, &fleet->processes[i]);
        for (unsigned i = 0; i < fleet->n; i++)
                all_well =
                    all_well && (fleet->processes[i].pipe >= 0 || fleet->processes[i].has_result);
        free(fds);
        return all_well;
}

static void add_counts(struct swarm_counts *into, const struct swarm_counts *from)
{
        uint64_t *sums = (uint64_t *)into, last_refusal = into->last_refusal;
        const uint64_t *more = (const uint64_t *)from;

        _Static_assert(sizeof(*into) % sizeof(*sums) == 0, "all of swarm_counts is uint64_t");
        for (size_t i = 0; i < sizeof(*into) / sizeof(*sums); i++)
                sums[i] += more[i];
        into->last_refusal = from->last_refusal != 0 ? from->last_refusal : last_refusal;
}

struct swarm_counts fleet_counts(const struct fleet *fleet)
{
        struct swarm_counts counts = { 0 };

        for (unsigned i = 0; i < fleet->n; i++)
                add_counts(&counts, &fleet->processes[i].counts);
        return counts;
}

const struct series *fleet_series(const struct fleet *fleet)
{
        return &fleet->series;
}

void fleet_take_series(struct fleet *fleet, struct series *ret_series)
{
        *ret_series = fleet->series;
        series_init(&fleet->series);
}

bool fleet_finish(struct fleet *fleet, struct swarm_result *ret_result, struct witness *seen)
{
        uint64_t until_ms = clock_mono_ms() + FINISH_MS;
        bool all_well = true, is_complete = false;

        atomic_store(&fleet->board->phase, SWARM_FINISH);
        while (all_well && !is_complete && clock_mono_ms() < until_ms) {
                all_well = fleet_poll(fleet, 100);
                is_complete = true;
                for (unsigned i = 0; i < fleet->n; i++)
                        is_complete = is_complete && fleet->processes[i].has_result;
        }
        ret_result->counts = fleet_counts(fleet);
        for (unsigned t = 0; t < TIMINGS; t++)
                histogram_init(&ret_result->timings[t]);
        memset(&ret_result->moments, 0, sizeof(ret_result->moments));
        for (unsigned i = 0; i < fleet->n; i++) {
                const struct process *process = &fleet->processes[i];

                if (!process->has_result)
                        continue;
                for (unsigned t = 0; t < TIMINGS; t++)
                        histogram_add(&ret_result->timings[t], &process->result->timings[t]);
                moments_add(&ret_result->moments, &process->result->moments);
                /* Two processes that saw different tags for one number: one of them saw a foreign
                 * one. */
                for (size_t k = 0; k < process->seen.n; k++)
                        if (!witness_saw(seen, &process->seen.tokens[k]))
                                ret_result->counts.tally.foreign++;
        }
        return is_complete;
}

void fleet_destroy(struct fleet *fleet)
{
        uint64_t until_ms = clock_mono_ms() + GOODBYE_MS;

        if (fleet == NULL)
                return;
        atomic_store(&fleet->board->phase, SWARM_FINISH);
        for (unsigned i = 0; i < fleet->n; i++) {
                struct process *process = &fleet->processes[i];
                const struct timespec pause = { .tv_nsec = 10000000 };

                if (process->pipe >= 0)
                        close_pipe(process);
                while (process->pid > 0 && waitpid(process->pid, NULL, WNOHANG) == 0) {
                        if (clock_mono_ms() > until_ms)
                                kill(process->pid, SIGKILL);
                        nanosleep(&pause, NULL);
                }
                witness_fini(&process->seen);
                free(process->result);
        }
        series_fini(&fleet->series);
        munmap(fleet->board, sizeof(*fleet->board));
        free(fleet);
}
