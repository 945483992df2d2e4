// A constant's first word, read as a distance from it, leads into the function, which also has a switch: it is no jump table for that.
//#Hazard: C6
//#Matrix: cc=gcc,clang opt=-O1,-O2,-O3 kind=pie,shared ld=bfd,lld
//#Expect: live
//#Call: op 0 3
//#Call: op 1 3
//#Call: op 2 1
//#Call: op 3 2
//#Call: op 4 3
//#Call: op 5 1
//#Call: op 6 2
#include "scenario.h"

#define NOCLONE __attribute__((noinline, noclone))
#ifdef __clang__
#undef NOCLONE
#define NOCLONE __attribute__((noinline))
#endif

extern const int numbers[6] __attribute__((visibility("hidden")));
__asm__(".pushsection .rodata,\"a\",@progbits\n.balign 32\n.type numbers,@object\n.size numbers,24\n.globl numbers\n.hidden numbers\n"
        "numbers: .long .Linside-numbers, 1011, 2022, 3033, 4044, 5055\n.zero 64\n.popsection");

static const int *kept;

NOCLONE int op(int which, int at) {
    kept = numbers;
#ifdef NEW
    at += 1;
#endif
    switch (which) {
    case 0: return at + 1;
    case 1: return kept[at] * 3;
    case 2: return at * at;
    case 3: __asm__ volatile(".Linside: nop"); return numbers[at] + at;
    case 4: return at ^ 99;
    case 5: return 7 - at;
    default: return numbers[at];
    }
}

void command(const char *line) {
    int which, at;
    if (sscanf(line, "op %d %d", &which, &at) == 2)
        printf("%d\n", op(which, at));
}
