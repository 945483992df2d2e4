// A variable goes where no other one comes, and another one comes where none goes: nothing says that they are the same.
//#Hazard: D1,D2
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Warm: refused
//#Warm: taken
//#After: refused => refused
//#After: taken => 2 101
//#After: taken => 3 102
//#Reverted: taken => 4
//#Reverted: refused => refused 2
#include "scenario.h"

static int taken;
#ifdef NEW
static long bytes = 100;
#else
static int refused;
#endif

NOINLINE void refuse(void) {
#ifdef NEW
    puts("refused");
#else
    printf("refused %d\n", ++refused);
#endif
}

NOINLINE void take(void) {
#ifdef NEW
    printf("%d %ld\n", ++taken, ++bytes);
#else
    printf("%d\n", ++taken);
#endif
}

void command(const char *line) {
    if (!strcmp(line, "refused"))
        refuse();
    if (!strcmp(line, "taken"))
        take();
}
