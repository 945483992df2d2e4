//! Changes that bring something new: texts, tables, state, functions, and what only C++ has.

use super::super::random::Random;
use super::edit::Change;
use super::text::Text;

pub(super) const INSERTS: [(&str, u64, Change); 12] = [
    ("new text", 8, |text, random| put(text, random, new_text)),
    ("new texts", 6, |text, random| put(text, random, new_texts)),
    ("new state", 6, |text, random| put(text, random, new_state)),
    ("new thread-local", 4, |text, random| put(text, random, new_thread_local)),
    ("new global", 6, |text, random| put(text, random, new_global)),
    ("new table", 6, |text, random| put(text, random, new_table)),
    ("new function", 6, |text, random| put(text, random, new_function)),
    ("new pointers", 5, |text, random| put(text, random, new_pointers)),
    ("new switch", 4, |text, random| put(text, random, new_switch)),
    ("new numbers", 4, |text, random| put(text, random, new_numbers)),
    ("new import", 4, |text, random| put(text, random, new_import)),
    ("new struct", 4, |text, random| put(text, random, new_struct)),
];

pub(super) const CPLUSPLUS: [(&str, u64, Change); 7] = [
    ("new lambda", 6, |text, random| put(text, random, new_lambda)),
    ("new template", 6, |text, random| put(text, random, new_template)),
    ("new exception", 6, |text, random| put(text, random, new_exception)),
    ("new class", 6, |text, random| put(text, random, new_class)),
    ("new object", 6, |text, random| put(text, random, new_object)),
    ("new string", 6, |text, random| put(text, random, new_string)),
    ("virtual function", 8, virtual_function),
];

/// What goes in front of the function, and the statement in it.
struct Piece {
    above: String,
    statement: String,
}

fn put(text: &Text, random: &mut Random, make: fn(&mut Random, &str) -> Piece) -> Option<String> {
    let (item, function) = text.function(random)?;
    let gaps = text.gaps(&function.body);
    if gaps.is_empty() {
        return None;
    }
    let at = if random.percent(40) { gaps[0] } else { random.pick(&gaps) };
    let name = format!("added_{}", random.bits(16));
    let piece = make(random, &name);
    let top = item.range.start;
    Some(text.with(vec![(top..top, piece.above + " "), (at..at, format!(" {{ {} }}", piece.statement))]))
}

const WORDS: [&str; 14] = [
    "note",
    "a",
    "result",
    "limit",
    "result of the limit",
    "%d bytes",
    "of the limit",
    "",
    "value",
    "it is late",
    "late",
    "x=%d",
    "NaN",
    "/tmp",
];

fn word(random: &mut Random) -> &'static str {
    random.pick(&WORDS)
}

fn new_text(random: &mut Random, _: &str) -> Piece {
    let (word, times) = (word(random), 1 + random.below(4));
    let print = match random.below(3) {
        0 => format!("__builtin_printf(\"{word} %d\\n\", count)"),
        1 => format!("__builtin_puts(\"{}\")", word.replace('%', "")),
        _ => format!("__builtin_puts(&\"<{}>\"[count & 1])", word.replace('%', "")),
    };
    Piece { above: String::new(), statement: format!("static int count; if (count++ < {times}) {print};") }
}

fn new_texts(random: &mut Random, _: &str) -> Piece {
    let all: Vec<String> = (0..2 + random.below(5)).map(|_| format!("\"{}\"", word(random).replace('%', ""))).collect();
    let kind = random.pick(&["static const char *const", "const char *const", "const char *", "static const char *"]);
    Piece {
        above: String::new(),
        statement: format!(
            "static unsigned count; {kind} names[] = {{{}}}; if (count < 7) __builtin_puts(names[count++ % {}]);",
            all.join(", "),
            all.len()
        ),
    }
}

fn new_state(random: &mut Random, _: &str) -> Piece {
    let (start, factor) = (random.below(9), 2 * random.below(50) + 3);
    let word = word(random);
    Piece {
        above: String::new(),
        statement: format!(
            "static unsigned long state = {start}; state = state * {factor} + 1; \
             if ((state & 127) == 5) __builtin_printf(\"{word} %d\\n\", (int)(state & 0xffff));"
        ),
    }
}

fn new_thread_local(random: &mut Random, name: &str) -> Piece {
    let start = if random.percent(50) { format!(" = {}", random.below(1000)) } else { String::new() };
    let above = random.percent(50);
    let variable = format!("static __thread int {name}{start};");
    let used = format!("if (({name}++ & 63) == 7) __builtin_printf(\"own %d\\n\", {name});");
    Piece {
        above: if above { variable.clone() } else { String::new() },
        statement: if above { used } else { format!("{variable} {used}") },
    }
}

fn new_global(random: &mut Random, name: &str) -> Piece {
    let linkage = if random.percent(60) { "static " } else { "" };
    let start = if random.percent(60) { format!(" = {}", random.bits(12)) } else { String::new() };
    let limit = random.bits(12) + 6;
    Piece {
        above: format!("{linkage}int {name}{start};"),
        statement: format!(
            "if ({name}++ < {limit} && ({name} & 7) == 1) __builtin_printf(\"{}\\n\");",
            word(random).replace('%', "")
        ),
    }
}

fn new_table(random: &mut Random, name: &str) -> Piece {
    let kind = random.pick(&["unsigned char", "unsigned short", "unsigned", "unsigned long", "double"]);
    let constant = if random.percent(70) { "const " } else { "" };
    let len = 3 + random.below(30);
    let values: Vec<String> = (0..len).map(|_| random.bits(8).to_string()).collect();
    let table = format!("static {constant}{kind} {name}[] = {{{}}};", values.join(","));
    let above = random.percent(50);
    let write = if constant.is_empty() { format!(" {name}[count % {len}] += 1;") } else { String::new() };
    let used = match random.percent(50) {
        true => format!("for (unsigned i = count % {len}; i < {len}; i++) sum = sum * 3 + (int){name}[i];"),
        false => format!("for (const {kind} *p = {name} + {len}; p-- != {name};) sum = sum * 5 + (int)*p;"),
    };
    let statement = format!(
        "static unsigned count; if (count < 5) {{ int sum = 0;{write} {used} count++; __builtin_printf(\"sum %d\\n\", sum & 0xffff); }}"
    );
    Piece {
        above: if above { table.clone() } else { String::new() },
        statement: if above { statement } else { format!("{table} {statement}") },
    }
}

fn cases(random: &mut Random) -> String {
    (0..4 + random.below(8))
        .map(|n| format!("case {n}: x = x * {} + {}; break; ", random.bits(4) | 1, random.bits(9)))
        .collect()
}

fn new_function(random: &mut Random, name: &str) -> Piece {
    let attribute = random.pick(&["", "__attribute__((noinline)) ", "inline "]);
    let body = match random.below(3) {
        0 => format!("switch (x & 15) {{ {} default: x ^= 5; }} return x & 0xfff;", cases(random)),
        1 => format!("static int seen; seen += x; return (seen % {}) + {};", random.below(90) + 2, random.bits(5)),
        _ => format!("return x < 2 ? 1 : {name}(x - 1) + {name}(x - 2) % {};", random.below(90) + 2),
    };
    Piece {
        above: format!("static {attribute}int {name}(int x) {{ {body} }}"),
        statement: format!("static int count; if (count++ < 6) __builtin_printf(\"f %d\\n\", {name}(count));"),
    }
}

fn new_pointers(random: &mut Random, name: &str) -> Piece {
    let constant = if random.percent(60) { "const " } else { "" };
    let numbers: Vec<u32> = (0..3).map(|_| random.bits(8)).collect();
    let functions: String = numbers
        .iter()
        .enumerate()
        .map(|(n, c)| format!("static int {name}_{n}(int x) {{ return x * {c} + {n}; }} "))
        .collect();
    let table = format!(
        "static const struct {{ const char *name; int (*call)(int); }} {name}[] = \
         {{{{\"{}\", {name}_0}}, {{\"{}\", {name}_1}}, {{0, {name}_2}}}};",
        word(random).replace('%', ""),
        word(random).replace('%', "")
    );
    let plain = format!("static int (*{constant}{name}[])(int) = {{{name}_2, {name}_0, {name}_1}};");
    let (table, call) = match random.percent(50) {
        true => (table, format!("{name}[count % 3].call(count)")),
        false => (plain, format!("{name}[count % 3](count)")),
    };
    Piece {
        above: functions + &table,
        statement: format!("static unsigned count; if (count++ < 6) __builtin_printf(\"p %d\\n\", {call});"),
    }
}

fn new_switch(random: &mut Random, _: &str) -> Piece {
    Piece {
        above: String::new(),
        statement: format!(
            "static int count; int x = ++count; switch (x & 15) {{ {} default: x = {}; }} if ((x & 31) == 3) __builtin_printf(\"x %d\\n\", x);",
            cases(random),
            random.bits(6)
        ),
    }
}

fn new_numbers(random: &mut Random, _: &str) -> Piece {
    let number = format!("{}.{}", random.bits(10), random.bits(10));
    let kind = random.pick(&["double", "float"]);
    Piece {
        above: String::new(),
        statement: format!(
            "static int count; volatile {kind} d = count++; if (count < 5) __builtin_printf(\"%d %.3f\\n\", d < {number}, (double)(-d * {number} + 0.5));"
        ),
    }
}

fn new_import(random: &mut Random, _: &str) -> Piece {
    let call = random.pick(&[
        "__builtin_strspn(text + (count & 1), \"a b\")",
        "__builtin_strlen(__builtin_strpbrk(text, \"xz\"))",
        "__builtin_strcspn(text, \"z\")",
        "__builtin_toupper(text[count & 3])",
        "__builtin_isalpha(text[count & 3])",
        "__builtin_abs(__builtin_memcmp(text, \"a c\", 3)) % 2",
    ]);
    Piece {
        above: String::new(),
        statement: format!(
            "static int count; static const char text[] = \"a b x y z\"; if (count++ < 4) __builtin_printf(\"i %d\\n\", (int){call});"
        ),
    }
}

fn new_struct(random: &mut Random, name: &str) -> Piece {
    let (len, by_value) = (2 + random.below(20), random.percent(50));
    let kind = format!("struct {name} {{ int a; char b[{len}]; double c; }};");
    let function = match by_value {
        true => format!(
            "static __attribute__((noinline)) struct {name} {name}_f(int x) {{ struct {name} s = {{x, \"q\", {len}.5}}; return s; }}"
        ),
        false => format!(
            "static struct {name} {name}_s = {{7, \"abc\", 1.5}}; static __attribute__((noinline)) struct {name} {name}_f(int x) {{ {name}_s.a += x; return {name}_s; }}"
        ),
    };
    Piece {
        above: kind + " " + &function,
        statement: format!(
            "static int count; if (count++ < 4) {{ struct {name} s = {name}_f(count); __builtin_printf(\"s %d %d %.1f\\n\", s.a, s.b[0], s.c); }}"
        ),
    }
}

fn new_lambda(random: &mut Random, name: &str) -> Piece {
    let factor = random.bits(6);
    let (above, call) = match random.percent(50) {
        true => (
            String::new(),
            format!("[&](int x) {{ static int seen; seen += x; return seen * {factor} + count; }}(count)"),
        ),
        false => (
            format!(
                "template <typename F> static __attribute__((noinline)) int {name}(F f) {{ int s = 0; for (int i = 0; i < 3; i++) s += f(i); return s; }}"
            ),
            format!("{name}([&](int x) {{ return x * {factor} + count; }})"),
        ),
    };
    Piece { above, statement: format!("static int count; if (count++ < 4) __builtin_printf(\"l %d\\n\", {call});") }
}

fn new_template(random: &mut Random, name: &str) -> Piece {
    let factor = random.bits(6) + 1;
    let linkage = random.pick(&["static ", "", "inline "]);
    Piece {
        above: format!(
            "template <typename T> {linkage}T {name}(T x) {{ static int calls = {factor}; calls++; return x * T({factor}) + T(calls) / T(2); }}"
        ),
        statement: format!(
            "static int count; if (count++ < 4) __builtin_printf(\"t %d %.2f\\n\", {name}(count), {name}(count * 0.5));"
        ),
    }
}

fn new_exception(random: &mut Random, name: &str) -> Piece {
    let base = random.percent(50);
    let class = match base {
        true => format!("namespace {{ struct {name} {{ int code; explicit {name}(int c) : code(c) {{}} }}; }}"),
        false => format!(
            "struct {name} {{ int code; explicit {name}(int c) : code(c) {{}} virtual ~{name}() {{}} virtual int get() const {{ return code + 1; }} }};"
        ),
    };
    let value = if base { "e.code" } else { "e.get()" };
    let thrower = format!(
        "static __attribute__((noinline)) void {name}_f(int x) {{ if (x & 1) throw {name}(x * {}); }}",
        random.bits(8)
    );
    Piece {
        above: format!("{class} {thrower}"),
        statement: format!(
            "static int count; if (count++ < 5) {{ try {{ {name}_f(count); __builtin_printf(\"quiet\\n\"); }} \
             catch (const {name} &e) {{ __builtin_printf(\"caught %d\\n\", {value}); }} }}"
        ),
    }
}

fn new_class(random: &mut Random, name: &str) -> Piece {
    let (a, b) = (random.bits(8), random.bits(8));
    Piece {
        above: format!(
            "struct {name} {{ int m = {a}; virtual ~{name}() {{}} virtual int f(int x) {{ return x + m; }} }}; \
             struct {name}_d : {name} {{ int f(int x) override {{ return x * {b} + m; }} }}; \
             static __attribute__((noinline)) {name} *{name}_make(int x) {{ return x & 1 ? new {name} : new {name}_d; }}"
        ),
        statement: format!(
            "static int count; if (count++ < 5) {{ {name} *p = {name}_make(count); \
             __builtin_printf(\"c %d %d\\n\", p->f(count), dynamic_cast<{name}_d *>(p) != nullptr); delete p; }}"
        ),
    }
}

fn new_object(random: &mut Random, name: &str) -> Piece {
    let number = random.bits(8);
    let at_end = if random.percent(50) {
        format!(" ~{name}() {{ __builtin_printf(\"end %d\\n\", m); }}")
    } else {
        String::new()
    };
    Piece {
        above: format!(
            "namespace {{ struct {name} {{ int m; explicit {name}(int x) : m(x + {number}) {{ __builtin_printf(\"set up\\n\"); }}{at_end} }}; }}"
        ),
        statement: format!(
            "static int count; if (count++ < 5) {{ static {name} object(count); object.m++; __builtin_printf(\"o %d\\n\", object.m); }}"
        ),
    }
}

fn new_string(random: &mut Random, name: &str) -> Piece {
    let _ = name;
    let word = word(random).replace('%', "");
    Piece {
        above: String::new(),
        statement: format!(
            "static int count; if (count++ < 4) {{ std::string s(\"{word}\"); for (int i = 0; i < count; i++) s += \" and some {word}\"; \
             __builtin_printf(\"%s %d\\n\", s.c_str(), (int)s.size()); }}"
        ),
    }
}

/// A new one in a class, behind another one.
fn virtual_function(text: &Text, random: &mut Random) -> Option<String> {
    let all: Vec<usize> = text
        .code
        .match_indices("virtual ")
        .filter_map(|(at, _)| {
            let end = at + text.code[at..].find([';', '{'])?;
            let end = if text.code.as_bytes()[end] == b'{' { text.closing(end)? } else { end };
            Some(end + 1)
        })
        .collect();
    if all.is_empty() {
        return None;
    }
    let at = random.pick(&all);
    let number = random.bits(10);
    Some(text.with(vec![(at..at, format!(" virtual int added_{number}(int x) const {{ return x + {number}; }}"))]))
}
