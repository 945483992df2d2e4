// Writable data that points to constants, to functions and into other data; the pointed-to constants change.
//#Hazard: C18,D1,D3,I2
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Warm: select 1
//#After: show => mode one, step 20, cursor 3 (new)
//#After: select 2 => ok
//#After: show => mode two, step 30, cursor 4 (new)
//#Reverted: show => mode two, step 3, cursor 4
#include "scenario.h"

static int slots[4] = {1, 2, 3, 4};
static const char *mode = "zero";
static int *cursor = &slots[1];

static int step_zero(int x) {
    return x;
}
static int step_one(int x) {
#ifdef NEW
    return x * 20 + (x > 100) * x;
#else
    return x * 2 + (x > 100) * x;
#endif
}
static int step_two(int x) {
#ifdef NEW
    return x * 30 + (x > 100) * x;
#else
    return x * 3 + (x > 100) * x;
#endif
}
static int (*step)(int) = step_zero;
static struct {
    const char *name;
    int (*step)(int);
    int *place;
} modes[] = {{"zero", step_zero, &slots[1]}, {"one", step_one, &slots[2]}, {"two", step_two, &slots[3]}};

NOINLINE void choose(int i) {
    mode = modes[i].name;
    step = modes[i].step;
    cursor = modes[i].place;
    puts("ok");
}

NOINLINE void show(void) {
#ifdef NEW
    printf("mode %s, step %d, cursor %d (new)\n", mode, step(1), *cursor);
#else
    printf("mode %s, step %d, cursor %d\n", mode, step(1), *cursor);
#endif
}

void command(const char *line) {
    int i;
    if (sscanf(line, "select %d", &i) == 1 && i >= 0 && i < 3)
        choose(i);
    if (!strcmp(line, "show"))
        show();
}
