// The same as prototype.c in a program that exports all that it has. A person has looked at it: no module calls the function.
//#Hazard: D12
//#Matrix: cc=gcc,clang opt=-O2 kind=pie,nopie
//#Flags: -rdynamic
//#Accept: HP0503
//#Expect: live
//#Expect[kind=nopie]: safe
//#Call: go 3
#include "prototype.c"
