// A new table holds other modules' functions. The old code compares its entries with the addresses that it has: a stub of the image's own
// is another address than what the dynamic linker finds.
//#Hazard: I1,C10,C18
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared ld=bfd,gold,lld,mold
//#Expect: live
//#Expect[cc=clang,kind=nopie]: safe
//#Call: pick 0
//#Call: pick 1
//#Call: pick 2
#include "scenario.h"

typedef int (*parse)(const char *);
typedef size_t (*measure)(const char *);

static volatile measure known[2] = {strlen, 0};

#ifdef NEW
static const measure table[] = {strlen, (measure)strdup, (measure)atoi};
#endif

NOINLINE int is_known(measure f) {
    return f == known[0];
}

NOINLINE void pick(int n) {
    OPAQUE(n);
#ifdef NEW
    measure f = table[n];
    printf("%s %d\n", is_known(f) ? "known" : "unknown", n == 2 ? ((parse)f)("42") : n == 0 ? (int)f("four") : 0);
#else
    printf("nothing %d %d\n", n, atoi("7"));
#endif
}

void command(const char *line) {
    if (!strncmp(line, "pick ", 5))
        pick(atoi(line + 5));
}
