// A static variable of a function that had a constant for its initial value, and now is set up at its first use: its live value would be thrown away.
//#Hazard: D10,D1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Expect: not-live
//#Call: next
#include "scenario.h"

// Needs the unwinder in both builds.
struct Flushed {
    ~Flushed() {
        fflush(stdout);
    }
};

NOINLINE int seed() {
    static int length = strlen(getenv("PATH") ? "1000" : "10");
    return length;
}

NOINLINE int next() {
#ifdef NEW
    static int n = seed() + 3;
#else
    static int n = 4;
#endif
    return n++;
}

extern "C" void command(const char *) {
    Flushed flushed;
    printf("%d %d\n", next(), seed());
}
