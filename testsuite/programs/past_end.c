// Loops whose pointers end past the end of their array, where other objects stand: the fix moves those, and the loops must not follow.
//#Hazard: C1,C16,D1
//#Matrix: cc=gcc,clang opt=-O1,-O2,-O3 kind=pie,nopie,shared ld=bfd,lld,mold
// A number at a fixed address that may be one of two objects' is refused.
//#Expect: safe
//#Warm: fill
//#Call: walk
//#Call: pairs
#include "scenario.h"

static int before[4] = {1};
static int array[64] = {1, 2, 3};
static int small = 5;
#ifdef NEW
static long wedge[3] = {7, 8, 9};
#endif
static int calls = 6;
static struct pair {
    int key, value;
} list[12] = {{1, 2}};
static short tail = 3;

NOINLINE int walk(void) {
    int sum = 0;
    for (int i = 0; i < 63; i++)
        sum += array[i + 1] * (array[i] + small);
#ifdef NEW
    sum += (int)wedge[sum & 1];
#endif
    return sum + calls + before[sum & 3];
}

NOINLINE int pairs(void) {
    int sum = 0;
    for (struct pair *p = list; p < list + 12; p++)
        sum += p->value;
#ifdef NEW
    return sum + tail + 1;
#else
    return sum + tail;
#endif
}

void command(const char *line) {
    if (!strcmp(line, "walk"))
        printf("%d\n", walk());
    if (!strcmp(line, "pairs"))
        printf("%d\n", pairs());
    if (!strcmp(line, "fill"))
        for (int i = 0; i < 12; i++)
            list[i].value = i == 0 ? 2 : 0;
}
