// One variable of two names becomes two variables: which of them has the value, nobody can say.
//#Hazard: C12,D1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Expect: refuse HP0302
//#Call: add
#include "scenario.h"

int one_name = 3;
#ifdef NEW
int other_name = 3;
#else
extern int other_name __attribute__((alias("one_name")));
#endif

NOINLINE void add(int x) {
    one_name += x;
    other_name += 10 * x;
}

void command(const char *line) {
    (void)line;
    add(1);
    printf("%d %d\n", one_name, other_name);
}
