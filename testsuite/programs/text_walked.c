// A text is had by its end only, and a loop goes back from there: by an index, or by a pointer that begins one byte in front of it. Changed in
// nothing but the text, which ends as before.
//#Hazard: C1,C17
//#Matrix: cc=gcc,clang opt=-O2 kind=pie,shared,nopie cflags=-DINDEXED,-DWALKED
//#Expect: safe
//#Call: back 0
#include "scenario.h"

#ifdef NEW
#define TEXT "back to the #mark, counted"
#else
#define TEXT "back to #the mark, counted"
#endif

static volatile int ticks;
NOINLINE void tick(void) { ticks++; }
NOINLINE void say(const char *text) { printf("%s\n", text); }

NOINLINE long back(void) {
    const char *end;
    __asm__("lea %c1+%c2(%%rip), %0" : "=r"(end) : "i"(TEXT), "i"(sizeof TEXT - 1));
    tick();
#ifdef INDEXED
    long n = 0;
    __asm__("1: dec %0\n\tcmpb $'#', (%1,%0)\n\tjne 1b" : "+r"(n) : "r"(end) : "cc", "memory");
    return -n;
#else
    const char *mark;
    __asm__("lea -1(%1), %0\n1: cmpb $'#', (%0)\n\tje 2f\n\tdec %0\n\tjmp 1b\n2:" : "=&r"(mark) : "r"(end) : "cc", "memory");
    say(mark);
    return ticks;
#endif
}

void command(const char *line) {
    if (!strcmp(line, "back 0"))
        printf("%ld\n", back());
}
