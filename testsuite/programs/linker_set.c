// A list that the linker gathers in a section: a new entry can't be put between its ends, whichever end it is at.
//#Hazard: C18,D2
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: refuse HP0522
//#Call: a
//#Call: c
#include "scenario.h"

struct entry {
    long letter;
    void (*run)(void);
};
#define REGISTER(letter, function)                                                                                     \
    static const struct entry __attribute__((used, section("entries"))) entry_##function = {letter, function}

static void a(void) { puts("A"); }
static void b(void) { puts("B"); }
#ifdef NEW
static void c(void) { puts("C"); }
REGISTER('c', c);
#endif
REGISTER('a', a);
REGISTER('b', b);
extern const struct entry __start_entries[], __stop_entries[];

void command(const char *line) {
    for (const struct entry *e = __start_entries; e < __stop_entries; e++) {
        if (e->letter == *line) {
            e->run();
            return;
        }
    }
    puts("unknown");
}
