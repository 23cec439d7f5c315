/* base/check.h -- the three kinds of wrong, and what each one looks like in the code.
 *   our bug           check(): stops the process, in release builds too. A node that goes on after
 *                     its own invariant broke may deliver something wrong; a crash costs a reconnect.
 *   peer's or network's doing   an `enum err` result (base/err.h) that must be looked at.
 *   no memory         at start: refuse to start. Later: shed that one device or request, count it.
 */
#pragma once

#define must_check        __attribute__((warn_unused_result))
#define printf_like(f, a) __attribute__((format(printf, f, a)))
#define countof(array)    (sizeof(array) / sizeof((array)[0]))

/* Says file, line and the condition on stderr, then abort(). Never returns. */
_Noreturn void check_failed(const char *file, int line, const char *condition);

#define check(condition)                                                                           \
        do {                                                                                       \
                if (__builtin_expect(!(condition), 0))                                             \
                        check_failed(__FILE__, __LINE__, #condition);                              \
        } while (0)
