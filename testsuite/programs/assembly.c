// Hand-written assembly without a size beside the function that changes, which calls it.
//#Hazard: C13
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: go 5
#include "scenario.h"

__asm__(".text\n"
        ".globl twice\n"
        ".hidden twice\n"
        "twice:\n"
        "  movl %edi, %eax\n"
        "  addl %edi, %eax\n"
        "  jmp shared_tail\n"
        ".globl thrice\n"
        ".hidden thrice\n"
        "thrice:\n"
        "  leal (%rdi,%rdi,2), %eax\n"
        "shared_tail:\n"
        "  ret\n");
int twice(int x) __attribute__((visibility("hidden")));
int thrice(int x) __attribute__((visibility("hidden")));

NOINLINE int go(int x) {
#ifdef NEW
    return thrice(x) + twice(x) * 100;
#else
    return thrice(x);
#endif
}

void command(const char *line) {
    int x;
    if (sscanf(line, "go %d", &x) == 1)
        printf("%d\n", go(x));
}
