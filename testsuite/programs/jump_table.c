// A switch with a jump table gains cases and changes one; a second switch stays as it is.
//#Hazard: C6
//#Matrix: cc=gcc,clang opt=-O1,-O2,-O3 kind=pie,nopie,shared
//#Expect: live
//#Call: op 0 7
//#Call: op 1 7
//#Call: op 2 7
//#Call: op 5 7
//#Call: op 8 7
//#Call: op 11 7
//#Call: op 12 7
//#Call: op -1 7
//#Call: name 3
#include "scenario.h"

NOINLINE long operate(int op, long x) {
    switch (op) {
    case 0: return x + 1;
    case 1: return x * x;
#ifdef NEW
    case 2: return x - 40;
#else
    case 2: return x - 4;
#endif
    case 3: puts("three"); return x;
    case 4: return x << 3;
    case 5: return x % 5;
    case 6: puts("six"); return -x;
    case 7: return x ^ 0x55;
    case 8: return x / 2;
#ifdef NEW
    case 9: return x * 9;
    case 10: puts("ten"); return 10;
    case 11: return x * 11;
#endif
    default: return -1;
    }
}

NOINLINE const char *name(int op) {
    switch (op) {
    case 0: return "successor";
    case 1: puts("-"); return "square";
    case 2: return "minus";
    case 3: puts("--"); return "say";
    case 4: return "shift";
    case 5: return "rest";
    case 6: puts("---"); return "negative";
    default: return "other";
    }
}

void command(const char *line) {
    int op = 0;
    long x = 0;
    if (sscanf(line, "op %d %ld", &op, &x) == 2)
        printf("%ld\n", operate(op, x));
    if (sscanf(line, "name %d", &op) == 1)
        puts(name(op));
}
