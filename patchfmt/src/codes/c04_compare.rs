//! 04xx: comparison and what a patch has to include.

codes! {
    INITIAL_VALUE = 401 Note "the initial value of a variable changed" {
        seen: "A writable global has another initial value in the new build.",
        why: "The process has been using the variable: its live value is kept, and the new code sees that. Where the old one has zeros and the new one addresses (one more row in a table), and a function that uses it changed, this is severity start: it may go where the addresses lead.",
        act: "If the live value has to change, restart, or let new code set it.",
        example: "int limit = 100;   ->   int limit = 200;   /* stays at whatever it is now */",
    }
    CONSTANT_RESIZED = 402 Note "a constant changed its size" {
        seen: "A read-only object is larger or smaller in the new build.",
        why: "It can't be overwritten in place: the patch carries it and replaces every function that reads it.",
        act: "Nothing, unless another finding says that a reader can't be replaced.",
        example: "const char *const names[2] = {...};   ->   [3]",
    }
    GLOBAL_RESIZED = 403 Start "a variable grew or shrank" {
        seen: "A writable global has another size in the new build.",
        why: "Its live bytes have the old layout, and its neighbours begin where it used to end.",
        act: "Use the bundle at start, or keep the size and add a second variable.",
        example: "int slots[16];   ->   int slots[32];   /* the next variable begins where slots[16] would be */",
    }
    SECTION_KIND = 404 Start "data moved between read-only and writable" {
        seen: "An object is constant in one build and writable in the other.",
        why: "Old code and new code would disagree about whether it can change.",
        act: "Keep the qualifier, or introduce a new object.",
        example: "const int limit = 5;   ->   int limit = 5;",
    }
    POINTER_TABLE = 405 Start "live pointers may lead to an object that gets another place" {
        seen: "An object has another place in the patched process, as one that changed its size, and a writable variable holds its address; or a constant does, or a function that may have stored, passed on or returned it. Or it lies in a constant table in which something changes places.",
        why: "Code that follows the pointer would find the old object, and read it by the new one's length; code that names it finds the new one.",
        act: "Use the bundle at start, or keep the object's size.",
        example: "const char names[8][4]; const char *first = names[0];   ->   names[9][4]",
    }
    BUILD_STAMP = 406 Review "texts that differ are taken as equal on request" {
        seen: "`--ignore-text` matches what differs between two texts: a date, path, hash or version that changes with every build.",
        why: "The process goes on reporting the old one where nothing else changed. The signed manifest holds the pattern.",
        act: "Nothing; or build reproducibly (SOURCE_DATE_EPOCH, -ffile-prefix-map) to see no such change.",
        example: "puts(\"built \" __DATE__);   /* --ignore-text '[A-Z][a-z]{2} [ 0-9]\\d \\d{4}' */",
    }
    DATA_REMOVED = 407 Start "a variable is gone where another one came" {
        seen: "A function uses a variable that only the new build has, and used one that only the old build has. Or both have the same name, in functions of different names or parameters, or in different units.",
        why: "If it is the same variable under another name, the process has a value in the old one, and the new one would begin anew.",
        act: "Use the bundle at start, or keep the name.",
        example: "static struct conn *list;   ->   static struct conn *connections;   /* empty */",
    }
    FUNCTION_REMOVED = 408 Note "a function is gone" {
        seen: "A function of the old build isn't in the new one.",
        why: "Its code stays and stays callable through stored pointers.",
        act: "Nothing, unless calling it is the bug: then make it fail instead of removing it.",
        example: "static void helper(void) {...}   ->   (inlined everywhere)",
    }
    READER_UNKNOWN = 409 Refuse "not every reader of a changed constant can be replaced" {
        seen: "A constant changed that can't be overwritten in place, and code that reads it can't be replaced.",
        why: "Some code would go on with the old value.",
        act: "See the finding about the reader.",
        example: "const int limit = 5;   /* read by an assembly function without a size */",
    }
    NOTHING_CHANGED = 410 Note "nothing changed" {
        seen: "Every function and constant of the new build was proven equal to the old one.",
        why: "There is nothing to patch; no bundle is written.",
        act: "Check that old and new are the builds that you meant.",
        example: "patchgen build --old server --new server -o x.hpatch",
    }
    GLOBAL_MOVED = 411 Note "a variable grew, and its live value moves along" {
        seen: "A writable global has another layout in the new build, and no address of it can be kept anywhere but in functions that are replaced.",
        why: "The new object begins as in the new build; in the stop each member that both builds have gets its live value, and back at the revert.",
        act: "Nothing; what a new member begins with is what the new build says.",
        example: "long hits[4];   ->   long hits[8];   /* hits[0] to hits[3] keep their values */",
    }
    VALUE_RESET = 412 Review "a variable's live value is thrown away on request" {
        seen: "`--reset-data NAME` asks that the variable gets its new initial value when the bundle is applied.",
        why: "What the process has kept there is lost, also after a revert. The signed manifest holds the name.",
        act: "Nothing; a policy may refuse such bundles.",
        example: "int limit = 100;   ->   int limit = 200;   /* --reset-data limit: 200 at once */",
    }
    REALIGNED = 413 Start "new code needs an object aligned that isn't" {
        seen: "New code uses instructions that need their operand at a multiple of 16, 32 or 64 bytes, on an object that the old build has elsewhere. A note where it is a constant.",
        why: "There the instruction would fault; the object gets another place, and a variable would lose its live value.",
        act: "Use the bundle at start; or give the variable the alignment in the old build, too.",
        example: "static double v[4];   /* at 0x4030, and at 0x4040 in the new build, where clang uses movapd */",
    }
}
