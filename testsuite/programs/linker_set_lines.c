// A list that the linker gathers in a section, whose entries are named by the line that they stand in, and lines move: one entry even gets the name
// that another had. Their places and contents say which is which.
//#Hazard: C18
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared cflags=-DCONST=const,-DCONST=
//#Expect: live
// Bare numbers that may be addresses are refused in images at fixed addresses where nothing proves them (C16).
//#Expect[kind=nopie]: safe
//#Call: a
//#Call: b
//#Call: c
#include "scenario.h"

struct entry {
    long letter;
    void (*run)(void);
};
#define NAMED(line) entry_##line
#define AT(line) NAMED(line)
#define REGISTER(letter, function)                                                                                     \
    static CONST struct entry __attribute__((used, section("entries"))) AT(__LINE__) = {letter, function}

static NOINLINE void a(void) { puts("A"); }
#ifdef NEW
static NOINLINE void b(void) { puts("B, changed"); }
#else
static NOINLINE void b(void) { puts("B"); }
#endif
#ifdef NEW
#line 100
#else
#line 99
#endif
REGISTER('a', a);
REGISTER('b', b);
extern CONST struct entry __start_entries[], __stop_entries[];

NOINLINE void find(const char *line) {
    for (CONST struct entry *e = __start_entries; e < __stop_entries; e++) {
        if (e->letter == *line) {
            e->run();
            return;
        }
    }
    puts("unknown");
}

void command(const char *line) { find(line); }
