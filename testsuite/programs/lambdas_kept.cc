// Lambdas in live objects: a new one in front takes the name of the first, and so does all that is made for it. The objects call what they hold.
//#Hazard: C4,D13,I1
//#Matrix: cc=gcc opt=-O0,-O2 kind=pie,shared
//#Expect: live
//#Flags: -std=c++17
//#Warm: keep
//#Warm: call
//#After: call => 1003 6 (new)
//#After: keep => kept
//#After: call => 1003 6 (new)
//#Reverted: call => 1003 6
#include "scenario.h"
#include <functional>

// Needs the unwinder in both builds.
struct Flushed {
    ~Flushed() {
        fflush(stdout);
    }
};

static std::function<int(int)> *object, *other_object;

NOINLINE void keep_objects() {
#ifdef NEW
    std::function<int(int)> other = [](int k) { puts("other"); return -k; };
    if (!object && other_object)
        other(1);
#endif
    if (!object)
        object = new std::function<int(int)>([](int k) { return k + 1000; });
    if (!other_object)
        other_object = new std::function<int(int)>([](int k) { return k * 2; });
}

NOINLINE void call() {
    printf("%d %d", (*object)(3), (*other_object)(3));
#ifdef NEW
    printf(" (new)");
#endif
    puts("");
}

extern "C" void command(const char *line) {
    Flushed flushed;
    if (!strcmp(line, "keep")) {
        keep_objects();
        puts("kept");
    }
    if (!strcmp(line, "call"))
        call();
}
