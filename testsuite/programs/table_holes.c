// Switches with cases in between that are declared unreachable: LLVM lets those entries of the jump table lead to the end of the function, and the
// table goes on behind them. One changes in its code, one in nothing but the table behind the hole.
//#Hazard: C6
//#Matrix: cc=gcc,clang opt=-O2,-O1,-O3 kind=pie,nopie,shared
//#Expect: live
//#Call: eval 1 3 4
//#Call: eval 3 3 4
//#Call: eval 6 3 4
//#Call: eval 8 3000000 4
//#Call: step 5 2
//#Call: step 6 2
//#Call: step 7 2
#include "scenario.h"

static int hits, kept[8];

NOINLINE int work(int x) {
    hits++;
    return x * 3;
}

NOINLINE int eval(int op, int a, int b) {
    int r;
    switch (op) {
    case 1: r = work(a) + b; break;
    case 2: r = work(a) - b; break;
    case 3: r = work(b) * a; break;
    case 6: r = -work(a); break;
    case 7: r = work(a) * work(a); break;
    case 8: r = work(a) + 1; break;
    default: __builtin_unreachable();
    }
#ifdef NEW
    if (r > 1000000)
        r = 1000000;
#endif
    return r;
}

#ifdef NEW
#define FIVE 6
#define SIX 5
#else
#define FIVE 5
#define SIX 6
#endif

NOINLINE int step(unsigned k, int x) {
    switch (k) {
    case 0: return work(x) + 1;
    case 1: return work(x + 3) ^ 9;
    case 2: kept[1] = x = work(x) * 5; return x;
    case FIVE: kept[2] = x = work(x + 9) - 5; return x;
    case SIX: kept[3] = x = work(x + 19) - 51; return x / 3;
    case 7: return work(work(x));
    default: __builtin_unreachable();
    }
}

void command(const char *line) {
    int op, a, b;
    if (sscanf(line, "eval %d %d %d", &op, &a, &b) == 3)
        printf("%d\n", eval(op, a, b));
    if (sscanf(line, "step %d %d", &op, &a) == 2)
        printf("%d\n", step(op, a));
}
