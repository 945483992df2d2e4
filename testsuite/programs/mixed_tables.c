// Tables without a symbol (a local array's initial value, texts of a switch) in which entries that are no address lie between those that
// are: the table goes on behind them.
//#Hazard: C18,C17,D2
//#Matrix: cc=clang,gcc,clang,gcc opt=-O0,-O1,-O2,-O3 kind=pie,shared,pie,nopie
//#Expect: live
// Where nothing says how far such a table goes, or a bare number may be an address, the function is refused.
//#Expect[kind=nopie]: safe
//#Expect[cc=clang,opt=-O2]: safe
//#Expect[cc=clang,opt=-O3]: safe
//#Call: rows 0
//#Call: rows 5
//#Call: rows 9
//#Call: words 3
//#Call: words 4
//#Call: words 6
#include "scenario.h"

static int counts[3] = {3, 4, 5};

struct row {
    const char *name;
    int *count;
    long factor;
};

NOINLINE long rows(unsigned at) {
    struct row local[] = {
        {"first", &counts[0], 0},
        {"second", &counts[1], 2},
        {0, 0, 0},
        {0, 0, 0},
        {"fifth", &counts[2], 7},
        {0, 0, 9},
        {"seventh", &counts[0], 11},
        {"eighth", &counts[1], 0},
#ifdef NEW
        {0, 0, 13},
        {"tenth", &counts[2], 17},
#else
        {"ninth", &counts[1], 5},
        {0, 0, 0},
#endif
    };
    OPAQUE(at);
    struct row *r = &local[at];
    return (r->name ? (long)strlen(r->name) : -1) * 1000 + (r->count ? *r->count : -1) * 100 + r->factor;
}

NOINLINE const char *words(unsigned at) {
    OPAQUE(at);
    switch (at) {
    case 0: return "no thing at all";
    case 1: return "a single thing";
    case 2: return "a pair of things";
    case 3: return "";
    case 4: return "four things";
    case 5: return "\001";
#ifdef NEW
    case 6: return "half a dozen";
#else
    case 6: return "six or so";
#endif
    default: return "too many things";
    }
}

void command(const char *line) {
    if (!strncmp(line, "rows ", 5))
        printf("%ld\n", rows((unsigned)atoi(line + 5)));
    if (!strncmp(line, "words ", 6))
        printf("%s\n", words((unsigned)atoi(line + 6)));
}
