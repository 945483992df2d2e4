// A table of constants gets another name and keeps its content; code walks it from its start to its end, where another table begins that
// stays. Start and end must be of the same copy.
//#Hazard: C1,D4
//#Matrix: cc=gcc,clang opt=-O1,-O2 kind=pie,nopie,shared
// Where the two readings of the end can't be brought together it's refused.
//#Expect: safe
//#Call: walk
//#Call: pick 3
#include "scenario.h"

#define ROW(n) n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7
static const short check[32] = {ROW(1), ROW(20), ROW(3), ROW(40)};
#ifdef NEW
static const short moves[32] = {ROW(7), ROW(6), ROW(50), ROW(4)};
#define TABLE moves
#else
static const short action[32] = {ROW(7), ROW(6), ROW(50), ROW(4)};
#define TABLE action
#endif
static const short states[32] = {ROW(31), ROW(32), ROW(33), ROW(34)};

NOINLINE unsigned walk(void) {
    unsigned sum = 0;
    for (const short *p = TABLE; p < TABLE + 32; p++)
        sum = sum * 3 + (unsigned)*p;
#ifdef NEW
    sum += 5;
#endif
    return sum;
}

NOINLINE int pick(int i) { return check[i & 31] * 100 + states[(i + 1) & 31]; }

void command(const char *line) {
    int i;
    if (sscanf(line, "pick %d", &i) == 1)
        printf("%d\n", pick(i));
    else if (!strcmp(line, "walk"))
        printf("%u\n", walk());
}
