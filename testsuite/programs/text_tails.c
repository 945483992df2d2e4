// A text is had by its end only, and nobody has its start: its tail is another one's text, or the code goes back by a distance that isn't
// known; or its end, behind its zero, is where another text starts, or it's of wide characters. Changed in nothing but the text, which is
// as long as before.
//#Hazard: C1,C17
//#Matrix: cc=gcc,clang opt=-O2,-O1 kind=pie,shared,nopie
//#Expect: safe
//#Call: tail 0
//#Call: counted 31
//#Call: zero 0
//#Call: wide 0
#include "scenario.h"

#ifdef NEW
#define TAIL "the one and only, as it is"
#define COUNTED "by a distance not known: two!!!"
#define ZERO "with the zero behind it: number two"
#define WIDE u"wide characters, two"
#else
#define TAIL "the two and only, as it is"
#define COUNTED "by a distance not known: one!!!"
#define ZERO "with the zero behind it: number one"
#define WIDE u"wide characters, one"
#endif
#define AT(text, n) \
    ({ \
        const char *at; \
        __asm__("lea %c1+%c2(%%rip), %0" : "=r"(at) : "i"(text), "i"(n)); \
        at; \
    })

static volatile int ticks;
NOINLINE void tick(void) { ticks++; }
NOINLINE void say(const char *from, const char *to) { printf("%.*s\n", (int)(to - from), from); }

NOINLINE void tail(void) {
    const char *end = AT(TAIL, sizeof TAIL - 1);
    tick();
    say(end - (sizeof TAIL - 1), end);
}

NOINLINE void only_tail(void) { puts("only, as it is"); }

NOINLINE void counted(long n) {
    const char *end = AT(COUNTED, sizeof COUNTED - 1);
    tick();
    say(end - n, end);
}

NOINLINE void zero(void) {
    const char *end = AT(ZERO, sizeof ZERO);
    tick();
    say(end - sizeof ZERO, end - 1);
}

// Its start is what others have.
NOINLINE void zero_start(void) { puts(ZERO); }

NOINLINE void letters(const char *from, const char *to) {
    for (; from < to; from++)
        if (*from)
            putchar(*from);
    putchar('\n');
}

NOINLINE void wide(void) {
    const char *end = AT(WIDE, (sizeof WIDE - 2));
    tick();
    letters(end - (sizeof WIDE - 2), end);
}

NOINLINE void wide_start(const void *text) { letters(text, (const char *)text + (sizeof WIDE - 2)); }

void command(const char *line) {
    int n = 0;
    char what[16] = "";
    sscanf(line, "%15s %d", what, &n);
    if (!strcmp(what, "tail"))
        tail(), only_tail();
    if (!strcmp(what, "counted"))
        counted(n);
    if (!strcmp(what, "zero"))
        zero(), zero_start();
    if (!strcmp(what, "wide"))
        wide(), wide_start(WIDE);
}
