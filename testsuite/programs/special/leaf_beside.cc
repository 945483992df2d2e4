// A program with an unwinder of its own. What is replaced makes no calls; what makes calls is edited in place, and stays where it is.
//#Hazard: C8
//#Flags: -static-libgcc -static-libstdc++
//#Edits: 2
//#Expect: live
//#Call: area 3
#include "scenario.h"

// What a function leaves of the registers is no matter of its caller.
#define ALONE __attribute__((noipa))

#ifdef NEW
#define LEAST 5
#else
#define LEAST 3
#endif

ALONE int checked(int x) {
    OPAQUE(x);
    if (x < LEAST)
        throw x;
    return x;
}

ALONE int area(int x) {
    int side = checked(x) + LEAST;
    OPAQUE(side);
    return side * 10;
}

ALONE int leaf(int x) {
    OPAQUE(x);
#ifdef NEW
    return x * x + 7 * x - 1;
#else
    return x + 1;
#endif
}

void command(const char *line) {
    int x;
    if (sscanf(line, "area %d", &x) == 1) {
        try {
            printf("%d %d\n", area(x), leaf(x));
        } catch (int small) {
            printf("too small: %d\n", small);
        }
    }
}
