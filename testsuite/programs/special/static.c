// The plain pair of the scripted scenarios, for a program without a dynamic linker.
//#Hazard: S7
//#Expect: live
//#Call: value
//#Flags: -static
#include "counter.c"
