// A function calls others, and itself, through a table in which it stands first. At fixed addresses that isn't its jump table.
//#Hazard: C6,I1
//#Matrix: cc=gcc,clang opt=-O1,-O2 kind=nopie,pie
//#Sample: 2
//#Expect: live
//#Call: run 9
//#Call: run 14
#include "scenario.h"

typedef int step_function(int, int);
static step_function first, second, third;
static step_function *const steps[] = {first, second, third};
static step_function *const alone[] = {first};

NOINLINE static int first(int n, int k) {
#ifdef NEW
    k += 5;
#endif
    if (n <= 0)
        return k;
    return steps[(unsigned)k % 3](n - 1, k + 1);
}

NOINLINE static int second(int n, int k) {
    if (n <= 0)
        return 2 * k;
    return steps[(unsigned)(k + 1) % 3](n - 2, k + 1);
}

NOINLINE static int third(int n, int k) {
    if (n <= 0)
        return 3 * k;
    return alone[k < 0](n - 3, k + 2);
}

void command(const char *line) {
    int n;
    if (sscanf(line, "run %d", &n) == 1)
        printf("%d\n", first(n, 1));
}
