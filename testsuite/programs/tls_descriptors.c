// The same as tls.c with TLS descriptors.
//#Hazard: D9
//#Matrix: cc=gcc opt=-O0,-O2 kind=pie,shared cflags=-mtls-dialect=gnu2
//#Expect: live
//#Warm: add 3
//#Warm: thread 5
//#After: add 4 => 107
//#After: thread 6 => 1011
//#After: add 1 => 108
//#Reverted: add 1 => 9
//#Reverted: thread 1 => 12
#include "tls.c"
