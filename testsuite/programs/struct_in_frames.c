// A structure grows of which instances are only in frames of functions that are replaced: no call outlives the switch, so neither does one.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: sum 1 2 3 4
//#Call: sum 50 60
//#Call: twice 7
#include "scenario.h"

struct tally {
    int count;
#ifdef NEW
    int largest;
    long product;
#endif
    long sum;
};

static NOINLINE void add(struct tally *tally, int value) {
    tally->count++;
    tally->sum += value;
#ifdef NEW
    tally->product *= value;
    if (value > tally->largest)
        tally->largest = value;
#endif
}

static NOINLINE void show(const struct tally *tally) {
#ifdef NEW
    printf("%d %ld %ld %d\n", tally->count, tally->sum, tally->product, tally->largest);
#else
    printf("%d %ld\n", tally->count, tally->sum);
#endif
}

static NOINLINE struct tally fresh(int first) {
    struct tally tally = {0};
#ifdef NEW
    tally.product = 1;
#endif
    add(&tally, first);
    return tally;
}

NOINLINE void sum(const char *numbers) {
    int used, value = 0;
    struct tally tally = fresh(0);
    while (sscanf(numbers, " %d%n", &value, &used) == 1) {
        add(&tally, value);
        numbers += used;
    }
    show(&tally);
}

NOINLINE void twice(int value) {
    struct tally tally = fresh(value);
    add(&tally, value);
    show(&tally);
}

void command(const char *line) {
    if (!strncmp(line, "sum ", 4))
        sum(line + 4);
    if (!strncmp(line, "twice ", 6))
        twice(atoi(line + 6));
}
