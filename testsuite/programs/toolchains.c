// What fixes usually do, in C, by every compiler, linker and form of debug information: bodies, texts, a switch, new functions and data,
// static locals that keep their state.
//#Hazard: C1,C4,C6,C20,C21,D1,D2
//#Matrix: debug=plain,split,dwp,zlib,zstd,dwz,dwz-multi,separate cc=gcc-11,gcc-12,clang-14,clang-16 opt=-O0,-O1,-O2,-O3,-Os kind=pie,nopie,shared,static,static-pie ld=bfd,gold,lld,mold lto=none,full,thin dwarf=4,5
//#Sample: 1
//#Expect: live
// The C library is in the image: how linkers lay out its own tables and assembly can't always be told.
//#Expect[kind=static]: safe
//#Expect[kind=static-pie]: safe
//#Warm: count
//#Warm: count
//#Call: op 0 9
//#Call: op 3 9
//#Call: op 6 9
//#Call: name 1
//#Call: name 5
//#Call: visit
//#After: count => 30
//#Reverted: count => 4
#include "scenario.h"

struct entry {
    const char *name;
    int weight;
};

static struct entry table[] = {{"ash", 3}, {"birch", 5}, {"cedar", 7}};
static int visits;

#ifdef NEW
static int refused;
static const char *const reasons[] = {"none", "too large", "unknown tree"};

NOINLINE static const char *reason(int index) {
    refused++;
    return index < 0 || index > 99 ? reasons[1] : reasons[2];
}
#endif

NOINLINE static int operate(int op, int x) {
    switch (op) {
    case 0:
        return x + 1;
    case 1:
        return x * 7;
    case 2:
        return x - 40;
    case 3:
#ifdef NEW
        return x > 5 ? x << 2 : x;
#else
        return x << 2;
#endif
    case 4:
        return x / 3;
    case 5:
        return x ^ 0x55;
#ifdef NEW
    case 6:
        return x * x;
#endif
    default:
        return -1;
    }
}

NOINLINE static const char *name(int index) {
    if (index >= 0 && index < (int)(sizeof table / sizeof *table))
        return table[index].name;
#ifdef NEW
    return reason(index);
#else
    return "?";
#endif
}

NOINLINE static int count(void) {
    static int calls;
#ifdef NEW
    return ++calls * 10;
#else
    return ++calls;
#endif
}

NOINLINE static void visit(void) {
    int sum = 0;
    visits++;
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
        sum += table[i].weight;
#ifdef NEW
    printf("%s weight %d, %d refused\n", visits > 0 ? "seen," : "unseen,", sum, refused > 0);
#else
    printf("weight %d\n", sum);
#endif
}

void command(const char *line) {
    int op, x;
    if (sscanf(line, "op %d %d", &op, &x) == 2)
        printf("%d\n", operate(op, x));
    else if (sscanf(line, "name %d", &x) == 1)
        printf("%s\n", name(x));
    else if (!strcmp(line, "count"))
        printf("%d\n", count());
    else if (!strcmp(line, "visit"))
        visit();
}
