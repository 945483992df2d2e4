// An interpreter that dispatches through a table of label addresses.
//#Hazard: C7
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
// The optimiser makes conditional moves of the labels' addresses, which are immediates like any other number.
//#Expect[cc=gcc,kind=nopie,opt=-O2]: safe
// Bare numbers that may be addresses are refused in images at fixed addresses where nothing proves them (C16).
//#Expect[cc=clang,kind=nopie]: safe
//#Call: run iiis
//#Call: run idiis
//#Call: run iiidsis
#include "scenario.h"

NOINLINE int interpret(const char *program) {
    static const void *const table[] = {&&increment, &&dbl, &&square, &&stop};
    int value = 1;
    const char *at = program;
#define NEXT goto *table[*at == 'i' ? 0 : *at == 'd' ? 1 : *at == 's' ? 2 : 3]
    NEXT;
increment:
    value += 1;
    at++;
    NEXT;
dbl:
#ifdef NEW
    value *= 20;
    printf("dbl\n");
#else
    value *= 2;
#endif
    at++;
    NEXT;
square:
    value = value * value % 1009;
    at++;
    NEXT;
stop:
    return value;
}

void command(const char *line) {
    if (!strncmp(line, "run ", 4))
        printf("%d\n", interpret(line + 4));
}
