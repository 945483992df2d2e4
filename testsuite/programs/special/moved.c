// A counter table in several new builds: V1 and V2 make it longer, SIDE changes another function only.
//#Hazard: D5,S12
//#Expect: live
//#Call: show
#include "scenario.h"

#if defined V2
#define SLOTS 8
#elif defined V1 || defined NEW
#define SLOTS 6
#else
#define SLOTS 4
#endif

__attribute__((visibility("hidden"))) long hits[SLOTS];

NOINLINE void hit(int slot) {
    if (slot >= 0 && slot < SLOTS)
        hits[slot]++;
}

NOINLINE void show(void) {
    long sum = 0;
    for (int i = 0; i < SLOTS; i++)
        sum = sum * 10 + hits[i];
    printf("%d: %ld\n", SLOTS, sum);
}

NOINLINE int side(int x) {
#ifdef SIDE
    return x + 300;
#else
    return x + 2;
#endif
}

void command(const char *line) {
    int slot;
    if (sscanf(line, "hit %d", &slot) == 1) {
        hit(slot);
        puts("ok");
    } else if (!strcmp(line, "show")) {
        show();
    } else if (!strcmp(line, "side")) {
        printf("%d\n", side(1));
    }
}
