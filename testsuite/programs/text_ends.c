// A text is had by its end only: the code goes on from there behind a call, or too far away to be seen at once, or by a distance in a register.
// Changed in nothing but the text, which is as long as before.
//#Hazard: C1,C17
//#Matrix: cc=gcc,clang opt=-O2,-O1 kind=pie,shared,nopie
//#Expect: live
//#Call: called 0
//#Call: shared 0
//#Call: other 0
//#Call: far 0
//#Call: counted 30
//#Call: empty 0
#include "scenario.h"

#ifdef NEW
#define CALLED "behind a call: number two"
#define SHARED "used by another one: number two"
#define FAR "far away from there: number two"
#else
#define CALLED "behind a call: number one"
#define SHARED "used by another one: number one"
#define FAR "far away from there: number one"
#endif
#define COUNTED "a text by a distance that isn't known"

// What GCC makes of a string's initial value.
#define AT(text, n) \
    ({ \
        const char *at; \
        __asm__("lea %c1+%c2(%%rip), %0" : "=r"(at) : "i"(text), "i"(n)); \
        at; \
    })
#define LENGTH(text) (sizeof text - sizeof text[0])

static volatile int ticks;
NOINLINE void tick(void) { ticks++; }
NOINLINE void say(const char *from, const char *to) { printf("%.*s\n", (int)(to - from), from); }

NOINLINE void called(void) {
    const char *end = AT(CALLED, LENGTH(CALLED));
    tick();
    say(end - LENGTH(CALLED), end);
}

NOINLINE void shared(void) {
    const char *end = AT(SHARED, LENGTH(SHARED));
    tick();
    say(end - LENGTH(SHARED), end);
}

NOINLINE void other(void) { puts(SHARED); }

#define FIVE ticks = 1, ticks = 2, ticks = 3, ticks = 4, ticks = 5
NOINLINE void far(void) {
    const char *end = AT(FAR, LENGTH(FAR));
    FIVE, FIVE, FIVE, FIVE, FIVE, FIVE;
    say(end - LENGTH(FAR), end);
}

// As it was.
NOINLINE void counted(long n) {
    const char *end = AT(COUNTED, LENGTH(COUNTED));
    tick();
    say(end - n, end);
}

// An empty text is merged into the tail of another one.
NOINLINE void empty(const char *text) {
    for (const char *c = text ? text : ""; *c; c++)
        putchar(*c);
    puts("nothing");
}

void command(const char *line) {
    int n = 0;
    char what[16] = "";
    sscanf(line, "%15s %d", what, &n);
    if (!strcmp(what, "called"))
        called();
    if (!strcmp(what, "shared"))
        shared();
    if (!strcmp(what, "other"))
        other();
    if (!strcmp(what, "far"))
        far();
    if (!strcmp(what, "counted"))
        counted(n);
    if (!strcmp(what, "empty"))
        empty(NULL);
}
