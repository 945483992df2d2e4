// At fixed addresses a table that a compiler makes of what a `switch` returns, or of a local array, holds plain numbers. Texts and functions begin
// there, so that they are addresses.
//#Hazard: C16
//#Matrix: cc=gcc,clang opt=-O2,-O3 kind=nopie
//#Expect: live
//#Expect[cc=clang]: safe
//#Call: code 1
//#Call: code 2
//#Call: code 3
//#Call: code 9
//#Call: level 1
//#Call: level 2
//#Call: run 0
//#Call: run 1
//#Call: run 2
//#Call: pick 1
//#Call: pick 2
#include "scenario.h"

#ifdef NEW
#define PICK(old, new) new
#else
#define PICK(old, new) old
#endif

static NOINLINE const char *code(int n) {
    switch (n) {
    case 1:
        return "created";
    case 2:
        return "accepted";
#ifdef NEW
    case 3:
        return "deferred";
#endif
    case 4:
        return "gone";
    default:
        return "unknown";
    }
}

static NOINLINE const char *level(int n) {
    switch (n) {
    case 0:
        return "debug";
    case 1:
        return PICK("info", "INFO");
    case 2:
        return "warning";
    case 3:
        return "error";
    default:
        return "none";
    }
}

static NOINLINE int more(int x) { return x + 1; }
static NOINLINE int less(int x) { return x - 1; }
static NOINLINE int twice(int x) { return x * PICK(2, 20); }
static NOINLINE int minus(int x) { return -x; }

typedef int (*step)(int);

static NOINLINE step get(int n) {
    switch (n) {
    case 0:
        return more;
    case 1:
        return PICK(less, minus);
    case 2:
        return twice;
    case 3:
        return minus;
    default:
        return less;
    }
}

static NOINLINE const char *pick(int n) {
    const char *all[] = {"first", PICK("second", "SECOND"), "third", "fourth"};
    return all[n & 3];
}

void command(const char *line) {
    int n;
    if (sscanf(line, "code %d", &n) == 1)
        puts(code(n));
    if (sscanf(line, "level %d", &n) == 1)
        puts(level(n));
    if (sscanf(line, "run %d", &n) == 1)
        printf("%d\n", get(n)(5));
    if (sscanf(line, "pick %d", &n) == 1)
        puts(pick(n));
}
