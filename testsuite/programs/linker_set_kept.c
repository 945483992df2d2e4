// A list that the linker gathers in a section, with the same entries in both builds: what one of them leads to changes, and what walks the list.
//#Hazard: C18
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
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
#define REGISTER(letter, function)                                                                                     \
    static const struct entry __attribute__((used, section("entries"))) entry_##function = {letter, function}

static void a(void) { puts("A"); }
#ifdef NEW
static void b(void) { puts("B, changed"); }
#else
static void b(void) { puts("B"); }
#endif
REGISTER('a', a);
REGISTER('b', b);
extern const struct entry __start_entries[], __stop_entries[];

NOINLINE void find(const char *line) {
    for (const struct entry *e = __start_entries; e < __stop_entries; e++) {
        if (e->letter == *line) {
            e->run();
            return;
        }
    }
#ifdef NEW
    puts("not known");
#else
    puts("unknown");
#endif
}

void command(const char *line) { find(line); }
