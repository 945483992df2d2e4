// An offset of a thread-local variable in `lea`, beside an index, goes through the stack before the thread pointer is added: while variables move, it
// can't be told from a number.
//#Hazard: D9
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie
//#Expect: refuse HP0214
//#Call: element 2
//#Call: total
#include "scenario.h"

#ifdef NEW
__thread int counts[64] = {1};
#endif
__thread int listed[400] __attribute__((used)) = {5, 6, 7, 8};
#ifndef NEW
__thread int counts[64] = {1};
#endif

NOINLINE int element(long i) {
    int *place;
    __asm__("leaq listed@tpoff(,%1,4), %0\n\t"
            "subq $128, %%rsp\n\t"
            "pushq %0\n\t"
            "popq %0\n\t"
            "addq $128, %%rsp\n\t"
            "addq %%fs:0, %0"
            : "=&r"(place)
            : "r"(i)
            : "cc", "memory");
    return *place;
}

NOINLINE int total(void) { return listed[1] + counts[0]; }

void command(const char *line) {
    long i;
    if (sscanf(line, "element %ld", &i) == 1)
        printf("%d\n", element(i));
    if (!strcmp(line, "total"))
        printf("%d\n", total());
}
