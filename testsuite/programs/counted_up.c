// clang walks a text with an index that counts up to zero, from an address behind its end, where another constant starts.
//#Hazard: C16,C17
//#Matrix: cc=clang,gcc opt=-O1,-Os kind=nopie
//#Expect: safe
//#Call: sum
//#Call: digit 11
//#Call: table
#include "scenario.h"

static unsigned total;

NOINLINE unsigned sum(void) {
    const char *s = "a text that is summed up";
    for (; *s; s++)
        total = total * 31 + (unsigned char)*s;
#ifdef NEW
    for (s = "and another one"; *s; s++)
        total = total * 31 + (unsigned char)*s;
#endif
    unsigned result = total;
    total = 0;
    return result;
}

static const char table[] = "a table with a name";

NOINLINE unsigned walk(void) {
    unsigned hash = 7;
    for (const char *s = table; *s; s++)
        hash = hash * 31 + (unsigned char)*s;
#ifdef NEW
    hash ^= 5;
#endif
    return hash;
}

NOINLINE int digit(int x) {
#ifdef NEW
    return "0123456789abcdef"[x & 15] + 1;
#else
    return "0123456789abcdef"[x & 15];
#endif
}

void command(const char *line) {
    int x;
    if (!strcmp(line, "sum"))
        printf("%u, %s\n", sum(), "the next constant");
    if (!strcmp(line, "table"))
        printf("%u\n", walk());
    if (sscanf(line, "digit %d", &x) == 1)
        printf("%d\n", digit(x));
}
