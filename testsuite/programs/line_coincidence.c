// Limits that grow by as many lines as were added above them, and that lie where the function does in the file: real changes, not lines.
//#Hazard: C14
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie
//#Expect: live
//#Call: length 102
//#Call: length 104
//#Call: steps 26
//#Call: room
#include "scenario.h"
#ifdef NEW
#define TWO_MORE(number) (number + 2)
#else
#define TWO_MORE(number) number
#endif

static NOINLINE int room_for(int bytes) {
    OPAQUE(bytes);
    return bytes * 3;
}

#ifdef NEW
#define FIRST_LINE 102
#else
#define FIRST_LINE 100
#endif
#line FIRST_LINE
NOINLINE int grows(int length) {
    if (length > TWO_MORE(102))
        return 0;
    return room_for(length);
}

NOINLINE int steps(int to) {
    int count = 0;
    for (int i = 0; i < TWO_MORE(108); i++)
        count += i * to;
    return count;
}

NOINLINE int room(void) {
    int bytes = room_for(TWO_MORE(115));
    printf("%d\n", bytes);
    return bytes + 1;
}

void command(const char *line) {
    int x;
    if (sscanf(line, "length %d", &x) == 1)
        printf("%d\n", grows(x));
    if (sscanf(line, "steps %d", &x) == 1)
        printf("%d\n", steps(x));
    if (!strcmp(line, "room"))
        printf("%d\n", room());
}
