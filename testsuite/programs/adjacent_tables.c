// Tables of constants that stand back to back, as a parser generator writes them; one of them changes its size. The address at which one
// ends and the next begins must have one meaning, whichever is meant.
//#Hazard: D4,C1
//#Matrix: cc=gcc,clang opt=-O1,-O2 kind=pie,nopie,shared
//#Expect: live
// A number at a fixed address that may be one of two objects' is refused.
//#Expect[cc=clang,kind=nopie]: safe
//#Call: step 3
//#Call: step 30
//#Call: sum
//#Call: other 5
#include "scenario.h"

#define ROW(n) n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7
static const short check[32] = {ROW(1), ROW(20), ROW(3), ROW(40)};
static const short action[32] = {ROW(7), ROW(6), ROW(50), ROW(4)};
#ifdef NEW
static const signed char defaults[32] = {ROW(9), ROW(8), ROW(7), ROW(6)};
#else
static const short defaults[32] = {ROW(9), ROW(8), ROW(7), ROW(6)};
#endif
static const short jumps[32] = {ROW(11), ROW(12), ROW(13), ROW(14)};
static const short states[32] = {ROW(31), ROW(32), ROW(33), ROW(34)};

// Reads all of them, one at a computed place and one up to its end.
NOINLINE int step(int i) {
    int at = check[i & 31] + action[(i + 1) & 31];
    if (at > 30)
        return defaults[at & 31] + jumps[(at + 3) & 31];
#ifdef NEW
    return states[at & 31] + 1000;
#else
    return states[at & 31];
#endif
}

NOINLINE int sum(void) {
    int sum = 0;
    for (const short *p = action; p < action + 32; p++)
        sum = sum * 3 + *p;
    return sum + defaults[sum & 31];
}

// Reads two of them and stays as it is.
NOINLINE int other(int i) { return jumps[i & 31] * 100 + states[(i + 1) & 31]; }

void command(const char *line) {
    int i;
    if (sscanf(line, "step %d", &i) == 1)
        printf("%d\n", step(i));
    else if (sscanf(line, "other %d", &i) == 1)
        printf("%d\n", other(i));
    else if (!strcmp(line, "sum"))
        printf("%d\n", sum());
}
