// A library, which has an unwinder of its own, calls back into the program, and its exceptions come through `through`.
//#Hazard: C8
//#Flags: -fexceptions
//#Expect: live
//#Call: call 1
#include "scenario.h"
#include <dlfcn.h>

typedef int callback(int);

NOINLINE int through(callback *called, int x) {
    int result = called(x);
    OPAQUE(result);
#ifdef NEW
    return result + 200;
#else
    return result + 1;
#endif
}

static int (*throws)(int (*)(callback *, int), int);

void command(const char *line) {
    int x;
    char path[512];
    if (sscanf(line, "load %511s", path) == 1) {
        void *library = dlopen(path, RTLD_NOW);
        if (library)
            throws = (int (*)(int (*)(callback *, int), int))dlsym(library, "throws");
        puts(throws ? "ok" : "no");
    } else if (sscanf(line, "call %d", &x) == 1 && throws) {
        printf("%d\n", throws(through, x));
    }
}
