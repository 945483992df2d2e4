// The plain pair of the scripted scenarios, without a dynamic linker and at an address that nobody has fixed.
//#Hazard: S7
//#Expect: live
//#Call: value
//#Flags: -static-pie
#include "counter.c"
