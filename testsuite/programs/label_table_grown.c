// A changed interpreter with a table of labels, whose tables move, beside a variable that grew: the bundle is still for the start only.
//#Hazard: C7,D5
//#Matrix: cc=gcc,clang opt=-O2 kind=pie,shared
//#Expect: start
//#Call: run id
#include "scenario.h"

#ifdef NEW
static int steps[6] = {1, 2, 3, 4, 5, 6};
#else
static int steps[4] = {1, 2, 3, 4};
#endif

NOINLINE int interpret(const char *program) {
    static const void *const table[] = {&&increment, &&twice, &&stop};
    int value = 1;
    const char *at = program;
#define NEXT goto *table[*at == 'i' ? 0 : *at == 'd' ? 1 : 2]
    NEXT;
increment:
    value += steps[value & 3]++;
    at++;
    NEXT;
twice:
#ifdef NEW
    value *= steps[5];
#else
    value *= 2;
#endif
    at++;
    NEXT;
stop:
    return value;
}

void command(const char *line) {
    if (!strncmp(line, "run ", 4))
        printf("%d\n", interpret(line + 4));
}
