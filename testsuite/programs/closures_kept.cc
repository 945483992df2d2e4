// Closures that go live: one that does something else with what it always caught, while an object holds it, and one that catches more, but is only
// in frames of what is replaced.
//#Hazard: C4,D6,D13
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Expect: live
//#Flags: -std=c++17
//#Warm: keep 3
//#Call: rank 40
//#After: call 1 => 604
//#Reverted: call 1 => 304
#include "scenario.h"
#include <functional>

// Needs the unwinder in both builds.
struct Flushed {
    ~Flushed() {
        fflush(stdout);
    }
};

static std::function<int(int)> held;

NOINLINE void keep(int base) {
    int low = base, high = base * 100;
#ifdef NEW
    held = [low, high](int k) { return low + high * 2 + k; };
#else
    held = [low, high](int k) { return low + high + k; };
#endif
}

template <class F> NOINLINE static int best(const int *from, const int *end, F better) {
    int found = *from;
    for (; from != end; from++)
        if (better(*from, found))
            found = *from;
    return found;
}

static NOINLINE int rank(int middle) {
    int all[] = {3, 99, 41, 38, 7};
#ifdef NEW
    int bias = middle / 20;
    return best(all, all + 5, [middle, bias](int a, int b) { return abs(a - middle - bias) < abs(b - middle - bias); });
#else
    return best(all, all + 5, [middle](int a, int b) { return abs(a - middle) > abs(b - middle); });
#endif
}

extern "C" void command(const char *line) {
    Flushed flushed;
    int n;
    if (sscanf(line, "keep %d", &n) == 1) {
        keep(n);
        puts("kept");
    }
    if (sscanf(line, "call %d", &n) == 1)
        printf("%d\n", held ? held(n) : 0);
    if (sscanf(line, "rank %d", &n) == 1)
        printf("%d\n", rank(n));
}
