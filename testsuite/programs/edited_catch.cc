// Functions that catch, and that exceptions pass through, change a constant only.
//#Hazard: C8
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Edits: 2
//#Expect: live
//#Call: catch 3
//#Call: catch 30
#include "scenario.h"
#include <stdexcept>
#include <string>

struct Guard {
    int *count;
    ~Guard() {
        ++*count;
    }
};

NOINLINE static void fail(int x) {
    if (x > 10)
        throw std::runtime_error("too large: " + std::to_string(x));
}

NOINLINE static int through(int x, int *count) {
    Guard guard{count};
    OPAQUE(x);
#ifdef NEW
    fail(x + 5000);
    return x + 1;
#else
    fail(x + 4000);
    return x + 1;
#endif
}

NOINLINE static int catcher(int x, int *count) {
    try {
        if (x > 10)
            through(x, count);
        through(-x - 9000, count);
    } catch (const std::exception &e) {
        puts(e.what());
    }
    OPAQUE(x);
#ifdef NEW
    return x + 2000;
#else
    return x + 1000;
#endif
}

extern "C" void command(const char *line) {
    int x, count = 0;
    if (sscanf(line, "catch %d", &x) == 1) {
        int result = catcher(x, &count);
        printf("%d, %d cleanups\n", result, count);
    }
}
