// Lambdas are counted. A new one in front takes the name of the first; the state inside of each, and those that pointers hold, are
// what they were.
//#Hazard: C4,D1,D13,I1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared
//#Expect: live
//#Flags: -std=c++17
//#Warm: state a
//#Warm: state b
//#Warm: state b
//#Warm: keep
//#Warm: call
//#After: state a => a 2
//#After: state b => b 30
//#After: state z => z 1000
//#After: call => 1001 2 (new)
//#After: keep => kept
//#After: call => 1001 2 (new)
//#Reverted: state b => b 40
//#Reverted: call => 1001 2
#include "scenario.h"

typedef int (*function)(int);
static function pointer, other_pointer;

NOINLINE void state(char which) {
#ifdef NEW
    auto z = [](int k) NOINLINE { static int n; return n += 1000 * k; };
#endif
    auto a = [](int k) NOINLINE { static int n; return n += k; };
    auto b = [](int k) NOINLINE { static int n; return n += 10 * k; };
#ifdef NEW
    if (which == 'z')
        printf("z %d\n", z(1));
#endif
    if (which == 'a')
        printf("a %d\n", a(1));
    if (which == 'b')
        printf("b %d\n", b(1));
}

NOINLINE void keep_pointers() {
#ifdef NEW
    function volatile other = [](int k) { puts("other"); return -k; };
    if (!pointer && other_pointer)
        other(1);
#endif
    if (!pointer)
        pointer = [](int k) { return k + 1000; };
    if (!other_pointer)
        other_pointer = [](int k) { return k * 2; };
}

NOINLINE void call() {
    printf("%d %d", pointer(1), other_pointer(1));
#ifdef NEW
    printf(" (new)");
#endif
    puts("");
}

extern "C" void command(const char *line) {
    char word[16];
    if (sscanf(line, "state %15s", word) == 1)
        state(*word);
    if (!strcmp(line, "keep")) {
        keep_pointers();
        puts("kept");
    }
    if (!strcmp(line, "call"))
        call();
}
