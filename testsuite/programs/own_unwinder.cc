// A dynamic program with an unwinder of its own. One that asks the dynamic linker (GCC 12) gets the loader's answer; an older one can't be told of
// new code, so that a function that makes calls isn't replaced.
//#Hazard: C8
//#Matrix: cc=gcc-11,gcc-12 kind=pie
//#Flags: -static-libgcc -static-libstdc++
//#Expect: live
//#Expect[cc=gcc-11]: refuse HP0523
//#Call: area -2
//#Call: area 3
#include "throws.h"
