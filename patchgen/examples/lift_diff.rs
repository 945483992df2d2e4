fn main() {
    let args: Vec<std::path::PathBuf> = std::env::args_os().skip(1).map(Into::into).collect();
    let load = |p: &std::path::Path| {
        patchgen::image::Image::load(p, None, &[]).unwrap_or_else(|e| {
            eprintln!("{e:?}");
            std::process::exit(6)
        })
    };
    let t = std::time::Instant::now();
    let (a, b) = (load(&args[0]), load(&args[1]));
    eprintln!("load {:?}", t.elapsed());
    let t = std::time::Instant::now();
    let (la, lb) = (patchgen::lift::lift(&a), patchgen::lift::lift(&b));
    eprintln!("lift {:?}", t.elapsed());
    let t = std::time::Instant::now();
    let (old, new) =
        (patchgen::correlate::Side { image: &a, lifted: &la }, patchgen::correlate::Side { image: &b, lifted: &lb });
    let c = patchgen::correlate::correlate(old, new);
    eprintln!("correlate {:?}", t.elapsed());
    let t = std::time::Instant::now();
    let s = patchgen::compare::compare(old, new, &c);
    eprintln!("compare {:?}", t.elapsed());
    for f in &s.changed {
        println!("changed {} {:?} {:?} {}", lb.functions[f.new.index()].name, f.cause, f.first, f.detail);
    }
    for f in &s.new_funcs {
        println!("new {} {:?}", lb.functions[f.index()].name, lb.functions[f.index()].parts);
    }
    for f in &s.gone_funcs {
        println!("gone {} {:?}", la.functions[f.index()].name, la.functions[f.index()].parts);
    }
    for d in &s.data_changed {
        println!("data {} {:?}", lb.data[d.new.index()].name, d.diff);
    }
    for d in &s.new_data {
        println!("newdata {}", lb.data[d.index()].name);
    }
    for d in &s.gone_data {
        println!("gonedata {}", la.data[d.index()].name);
    }
    for d in &c.ambiguous {
        println!("ambiguous {d:?}");
    }
    if std::env::var_os("UNPROVABLE").is_some() {
        for f in &lb.functions {
            for u in &f.unprovable {
                println!("unprovable {} {} {} {}", f.name, u.code, u.at, u.what);
            }
        }
    }
    if let Some(n) = std::env::var_os("FUNC") {
        for (l, im) in [(&la, &a), (&lb, &b)] {
            for f in l.functions.iter().filter(|f| f.name.as_str() == n) {
                for r in &f.refs {
                    println!("{r:?}");
                    if let patchgen::lift::Target::Data { data, .. } = &r.target {
                        let d = &l.data[data.index()];
                        println!("   {d:?} {:?}", im.bytes(d.range.start, d.range.size()).map(String::from_utf8_lossy));
                        for q in d.refs.iter().chain(&d.ambiguous) {
                            if let patchgen::lift::Target::Data { data, .. } = &q.target {
                                println!("      {:?}", l.data[data.index()]);
                            }
                        }
                    }
                }
            }
        }
    }
    let unp = lb.functions.iter().filter(|f| !f.unprovable.is_empty()).count();
    let opq = lb.functions.iter().filter(|f| f.opaque).count();
    println!(
        "same {} changed {} new {} gone {} funcs {} refs {} unprovable {} opaque {} tables {}",
        s.same,
        s.changed.len(),
        s.new_funcs.len(),
        s.gone_funcs.len(),
        lb.functions.len(),
        lb.functions.iter().map(|f| f.refs.len()).sum::<usize>(),
        unp,
        opq,
        lb.functions.iter().map(|f| f.tables.len()).sum::<usize>()
    );
}
