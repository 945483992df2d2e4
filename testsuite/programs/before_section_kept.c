// The same as before_section.c, where the constant stays and something else changes: the code that has its address stays, too.
//#Hazard: C17
//#Matrix: cc=gcc,clang opt=-O2 kind=shared ld=bfd
//#Expect: live
//#Call: letter 1
#define KEPT
#define TEXT "eighty"
#ifdef NEW
#define STEP 2
#endif
#include "before_section.c"
