// Bytes of a table among hand-written code, without a size: those that would be filler in code are none.
//#Hazard: C13
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie,shared
//#Expect: refuse
//#Call: lookup 1
#include "scenario.h"

#ifdef NEW
#define SEVENTH "0xcc"
#else
#define SEVENTH "0x90"
#endif

__asm__(".text\n"
        ".p2align 4\n"
        "table:\n"
        ".byte 0x50, 0x51, 0x52, 0x53, 0x90, 0x90, " SEVENTH ", 0x90, 0x54, 0x55, 0x56, 0x57\n"
        ".p2align 4\n"
        ".globl lookup\n"
        ".hidden lookup\n"
        ".type lookup, @function\n"
        "lookup:\n"
        "leaq table(%rip), %rax\n"
        "movslq %edi, %rdi\n"
        "movzbl (%rax,%rdi), %eax\n"
        "ret\n"
        ".size lookup, .-lookup\n");
int lookup(int i);

void command(const char *line) {
    int i;
    if (sscanf(line, "lookup %d", &i) == 1)
        printf("%d\n", lookup(i));
}
