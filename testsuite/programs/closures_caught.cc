// Closures that catch something else in the new build: the live ones, behind std::function or a base class of one's own, hold what the old code put
// there. No name pairs their types.
//#Hazard: C4,D6
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared cflags=-DHELD,-DTASK
//#Expect: start
//#Flags: -std=c++17
//#Call: keep 3
//#Call: call 5
#include "scenario.h"
#include <functional>

// Needs the unwinder in both builds.
struct Flushed {
    ~Flushed() {
        fflush(stdout);
    }
};

#ifdef TASK
struct Task {
    virtual int run(int) = 0;
    virtual ~Task() = default;
};

template <class F> struct TaskOf final : Task {
    F f;
    explicit TaskOf(F f) : f(f) {}
    int run(int k) override {
        return f(k);
    }
};

static Task *held;

template <class F> void hold(F f) {
    delete held;
    held = new TaskOf<F>(f);
}

NOINLINE int call(int k) {
    return held ? held->run(k) : 0;
}
#else
static std::function<int(int)> held;

template <class F> void hold(F f) {
    held = f;
}

NOINLINE int call(int k) {
    return held ? held(k) : 0;
}
#endif

NOINLINE void keep(int base) {
    int low = base, high = base * 100;
#ifdef NEW
    long more = base;
    hold([more, low, high](int k) { return low + high * 2 + k + (int)more; });
#else
    hold([low, high](int k) { return low + high + k; });
#endif
}

extern "C" void command(const char *line) {
    Flushed flushed;
    int n;
    if (sscanf(line, "keep %d", &n) == 1) {
        keep(n);
        printf("%d\n", call(1));
    }
    if (sscanf(line, "call %d", &n) == 1)
        printf("%d\n", call(n));
}
