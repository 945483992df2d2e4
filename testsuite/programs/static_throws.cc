// A static program that throws: its own unwinder can't be told of new code, so that a function that makes calls isn't replaced.
//#Hazard: C8
//#Matrix: kind=static,static-pie ld=bfd,lld
//#Expect: refuse HP0523
//#Call: area -2
#include "throws.h"
