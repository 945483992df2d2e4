// The same as enum_renumbered.c, which a person has looked at: no number outlives a call.
//#Hazard: D7
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Accept: HP0502
//#Expect: live
//#Expect[kind=nopie]: safe
//#Call: name 0
//#Call: name 1
#include "enum_renumbered.c"
