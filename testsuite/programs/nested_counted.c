// Nested functions of one name are told apart by a number (GCC), and one more in front takes the first one's: live pointers stay with theirs.
//#Hazard: C4,D13,I1
//#Matrix: cc=gcc opt=-O1,-O2 kind=pie,nopie,shared
//#Expect: live
//#Warm: take 0
//#Warm: take 1
//#After: call 0 5 => 6
//#After: call 1 5 => 7
//#After: take 2 => 2
//#After: call 2 5 => 5000
//#Reverted: call 0 5 => 6
//#Reverted: call 1 5 => 7
#include "scenario.h"

typedef int (*function)(int);
static function taken[3];

#ifdef NEW
NOINLINE void thousands(void) {
    NOINLINE int step(int x) {
        return x * 1000;
    }
    taken[2] = step;
}
#endif
NOINLINE void ones(void) {
    NOINLINE int step(int x) {
        return x + 1;
    }
    taken[0] = step;
}
NOINLINE void twos(void) {
    NOINLINE int step(int x) {
        return x + 2;
    }
    taken[1] = step;
}

void command(const char *line) {
    int i, x;
    if (sscanf(line, "take %d", &i) == 1) {
        if (i == 0)
            ones();
        if (i == 1)
            twos();
#ifdef NEW
        if (i == 2)
            thousands();
#endif
        printf("%d\n", i);
    }
    if (sscanf(line, "call %d %d", &i, &x) == 2)
        printf("%d\n", taken[i](x));
}
